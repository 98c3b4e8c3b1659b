/* Identities (see id.h). */
#include "store/id.h"

#include "base/digest.h"
#include "os/os.h"

int cn_id_new(char ret_id[CN_ID_BYTES], cairn_error *err)
{
    struct cn_digest bits;
    int rc = cn_os_random(bits.bytes, sizeof bits.bytes);
    if (rc) return cn_error_errno(err, -rc, "no randomness from the system");
    cn_digest_hex(&bits, ret_id);
    return CAIRN_OK;
}

bool cn_id_is(const char *text, size_t size)
{
    struct cn_digest bits;
    return cn_digest_parse(text, size, &bits);
}
