/* provenance.json (see provenance.h). It must never hold a secret: the value of an argument whose name speaks of a key, token, secret or password is
 * replaced, and so is an argument with a password in an URL. The environment is not looked at. */
#include "snapshot/provenance.h"

#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "os/os.h"
#include "snapshot/revision.h"

enum { COMMAND_BYTES = 64 << 10, TEXT_BYTES = 4096 };
#define REDACTED "[redacted]"

struct cn_origin {
    char host[TEXT_BYTES], system[TEXT_BYTES], user[TEXT_BYTES], folder[TEXT_BYTES];
    char revision[CN_REVISION_BYTES]; /* "": none */
    char command[COMMAND_BYTES + 1];  /* arguments, each ended by NUL */
    size_t command_size;
};

struct cn_origin *cn_origin_ask(void)
{
    struct cn_origin *origin = cn_os_new(sizeof *origin);
    if (!origin) return NULL;
    cn_os_host_name(origin->host, sizeof origin->host);
    cn_os_kernel_name(origin->system, sizeof origin->system);
    cn_os_user_name(origin->user, sizeof origin->user);
    cn_os_working_dir(origin->folder, sizeof origin->folder);
    cn_revision_find(origin->folder, origin->revision);
    origin->command_size = cn_os_command_line(origin->command, COMMAND_BYTES);
    return origin;
}

static bool names_secret(const char *argument, size_t size)
{
    static const char *const words[] = { "key", "token", "secret", "passw", "credential", "auth" };
    for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
        size_t length = strlen(words[w]);
        for (size_t i = 0; i + length <= size; i++)
            if (!strncasecmp(argument + i, words[w], length)) return true;
    }
    return false;
}

/* "https://user:password@host" */
static bool holds_password(const char *argument)
{
    const char *at = strstr(argument, "://");
    if (!at) return false;
    size_t size = strcspn(at + 3, "/@");
    return at[3 + size] == '@' && memchr(at + 3, ':', size);
}

/* "--token=x" loses its value here, "--token x" in the next argument. *redact_next says so. */
static void put_argument(struct cn_json_writer *writer, const char *argument, bool *redact_next)
{
    bool redact = *redact_next && argument[0] != '-';
    const char *equals = strchr(argument, '=');
    size_t name_size = equals ? (size_t)(equals - argument) : strlen(argument);
    bool secret = names_secret(argument, name_size) && (equals || argument[0] == '-');
    *redact_next = secret && !equals;
    if (redact || holds_password(argument)) {
        cn_json_put_string(writer, REDACTED);
    } else if (secret && equals) {
        char text[TEXT_BYTES];
        if (name_size > sizeof text - sizeof REDACTED - 1) name_size = sizeof text - sizeof REDACTED - 1;
        memcpy(text, argument, name_size);
        memcpy(text + name_size, "=" REDACTED, sizeof "=" REDACTED);
        cn_json_put_string(writer, text);
    } else
        cn_json_put_string(writer, argument);
}

static void put_command(struct cn_json_writer *writer, const struct cn_origin *origin)
{
    const char *command = origin->command;
    size_t size = origin->command_size;
    bool redact_next = false;
    cn_json_key(writer, "command");
    cn_json_begin_array(writer);
    for (size_t at = 0; at < size; at += strlen(command + at) + 1) put_argument(writer, command + at, &redact_next);
    cn_json_end_array(writer);
}

/* NULL: null */
static void put_fact(struct cn_json_writer *writer, const char *key, const char *text)
{
    cn_json_newline(writer);
    cn_json_key(writer, key);
    if (text)
        cn_json_put_string(writer, text);
    else
        cn_json_put_null(writer);
}

int cn_provenance_write(const struct cn_origin *origin, const char *config, struct cn_buf *buf, cairn_error *err)
{
    struct cn_json_writer writer = { .buf = buf };
    cn_json_begin_object(&writer);
    cn_json_key(&writer, "cairn");
    cn_json_put_string(&writer, "provenance");
    cn_json_key(&writer, "version");
    cn_json_put_u64(&writer, 1);
    cn_json_newline(&writer);
    cn_json_key(&writer, "library");
    cn_json_put_string(&writer, "cairn " CAIRN_VERSION_STRING);
    put_fact(&writer, "host", origin->host);
    put_fact(&writer, "system", origin->system);
    put_fact(&writer, "user", origin->user);
    put_fact(&writer, "folder", origin->folder);
    put_fact(&writer, "revision", origin->revision[0] ? origin->revision : NULL);
    cn_json_newline(&writer);
    cn_json_key(&writer, "world_size");
    cn_json_put_u64(&writer, 1);
    cn_json_newline(&writer);
    put_command(&writer, origin);
    put_fact(&writer, "config", config);
    cn_json_seal(&writer);
    return cn_buf_check(buf, "provenance.json with the config", err);
}
