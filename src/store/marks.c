/* Marks (see marks.h). */
#include "store/marks.h"

#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "store/layout.h"

/* A tag must not be taken for a step or a selector of ours. */
static bool is_tag(const char *tag)
{
    size_t size = tag ? strlen(tag) : 0;
    if (!size || size > CN_MAX_TAG_BYTES || !strcmp(tag, CN_NAME_LATEST) || !strcmp(tag, CN_NAME_BEST)) return false;
    if (strspn(tag, "0123456789~") == size) return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)tag[i] <= 0x20 || tag[i] == 0x7f || strchr("/@~", tag[i])) return false;
    return cn_utf8_check(tag, size) == size;
}

int cn_marks_check_tag(const char *tag, cairn_error *err)
{
    struct cn_shown shown;
    if (is_tag(tag)) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "tag \"%s\": 1 to %d bytes, no number, not latest or best, no space, '/', '@' or '~'",
                        cn_show_text(&shown, tag ? tag : ""), CN_MAX_TAG_BYTES);
}

int cn_marks_check_metric(const char *name, cairn_error *err)
{
    struct cn_shown shown;
    size_t size = name ? strlen(name) : 0;
    if (size && size <= CN_MAX_METRIC_NAME_BYTES && cn_utf8_check(name, size) == size) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "metric \"%s\": its name must be 1 to %d bytes of UTF-8", cn_show_text(&shown, name ? name : ""),
                        CN_MAX_METRIC_NAME_BYTES);
}
