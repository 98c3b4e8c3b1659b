/* Points in time as text (see utctime.h); the calendar arithmetic counts days from 1 March, so that leap days end a year. */
#include "store/utctime.h"

#include <stdio.h>

static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t shifted = month > 2 ? month - 3 : month + 9, y = month > 2 ? year : year - 1;
    int64_t era = y / 400, of_era = y - era * 400;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * shifted + 2) / 5 + day - 1 - 719468;
}

void cn_utctime_format(int64_t time_ns, char ret_text[CN_UTC_BYTES])
{
    if (time_ns < 0) time_ns = 0;
    int64_t seconds = time_ns / 1000000000, days = seconds / 86400 + 719468, of_day = seconds % 86400;
    int64_t era = days / 146097, of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), shifted = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * shifted + 2) / 5 + 1, month = shifted < 10 ? shifted + 3 : shifted - 9;
    snprintf(ret_text, CN_UTC_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", (int)(year + era * 400 + (month <= 2)), (int)month, (int)day,
             (int)(of_day / 3600), (int)(of_day / 60 % 60), (int)(of_day % 60), (int)(time_ns % 1000000000));
}

static bool take_digits(const char **text, int count, char stop, int64_t *ret_number)
{
    int64_t number = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (**text < '0' || **text > '9') return false;
        number = number * 10 + (**text - '0');
    }
    *ret_number = number;
    return *(*text)++ == stop;
}

bool cn_utctime_parse(const char *text, int64_t *ret_time_ns)
{
    int64_t year, month, day, hour, minute, second, fraction;
    if (!take_digits(&text, 4, '-', &year) || !take_digits(&text, 2, '-', &month) || !take_digits(&text, 2, 'T', &day) ||
        !take_digits(&text, 2, ':', &hour) || !take_digits(&text, 2, ':', &minute) || !take_digits(&text, 2, '.', &second) ||
        !take_digits(&text, 9, 'Z', &fraction) || *text)
        return false;
    if (year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
        return false;
    *ret_time_ns = (((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000000000 + fraction;
    return true;
}
