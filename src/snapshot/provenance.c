/* provenance.json (see provenance.h). It must never hold a secret: the value of an argument whose name speaks of a key, token, secret or password is
 * replaced. The environment is not looked at. */
#include "snapshot/provenance.h"

#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/limits.h"
#include "os/os.h"
#include "snapshot/revision.h"

enum { COMMAND_BYTES = 64 << 10, TEXT_BYTES = 4096 };
#define REDACTED "[redacted]"

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

/* "--token=x" loses its value here, "--token x" in the next argument. *redact_next says so. */
static void put_argument(struct cn_json_writer *writer, const char *argument, bool *redact_next)
{
    bool redact = *redact_next && argument[0] != '-';
    const char *equals = strchr(argument, '=');
    size_t name_size = equals ? (size_t)(equals - argument) : strlen(argument);
    bool secret = names_secret(argument, name_size) && (equals || argument[0] == '-');
    *redact_next = secret && !equals;
    if (redact) {
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

static int put_command(struct cn_json_writer *writer, cairn_error *err)
{
    cn_auto_free char *command = cn_os_new(COMMAND_BYTES + 1);
    bool redact_next = false;
    if (!command) return cn_error_set(err, CAIRN_E_NOMEM, "no memory for the provenance");
    size_t size = cn_os_command_line(command, COMMAND_BYTES);
    cn_json_key(writer, "command");
    cn_json_begin_array(writer);
    for (size_t at = 0; at < size; at += strlen(command + at) + 1) put_argument(writer, command + at, &redact_next);
    cn_json_end_array(writer);
    return CAIRN_OK;
}

static void put_fact(struct cn_json_writer *writer, const char *key, void (*ask)(char *, size_t))
{
    char text[TEXT_BYTES];
    ask(text, sizeof text);
    cn_json_newline(writer);
    cn_json_key(writer, key);
    cn_json_put_string(writer, text);
}

static void put_revision(struct cn_json_writer *writer)
{
    char folder[CN_MAX_PATH_BYTES], revision[CN_REVISION_BYTES];
    cn_os_working_dir(folder, sizeof folder);
    cn_revision_find(folder, revision);
    cn_json_newline(writer);
    cn_json_key(writer, "revision");
    if (revision[0])
        cn_json_put_string(writer, revision);
    else
        cn_json_put_null(writer);
}

int cn_provenance_write(const char *config, struct cn_buf *buf, cairn_error *err)
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
    put_fact(&writer, "host", cn_os_host_name);
    put_fact(&writer, "system", cn_os_kernel_name);
    put_fact(&writer, "user", cn_os_user_name);
    put_fact(&writer, "folder", cn_os_working_dir);
    put_revision(&writer);
    cn_json_newline(&writer);
    cn_json_key(&writer, "world_size");
    cn_json_put_u64(&writer, 1);
    cn_json_newline(&writer);
    int code = put_command(&writer, err);
    if (code) return code;
    cn_json_newline(&writer);
    cn_json_key(&writer, "config");
    if (config)
        cn_json_put_string(&writer, config);
    else
        cn_json_put_null(&writer);
    cn_json_seal(&writer);
    return cn_buf_check(buf, "provenance.json with the config", err);
}
