/* The table and the JSON (see report.h). */
#include "report.h"

#include <string.h>

#include "scratch.h"
#include "stats.h"

static const char *number(double value, char *text, size_t size)
{
    snprintf(text, size,
             value >= 100 || value <= -100 ? "%.0f"
             : value >= 10 || value <= -10 ? "%.1f"
             : value < 0.1 && value > -0.1 ? "%.4f"
                                           : "%.3f",
             value);
    return text;
}

static void table_row(const struct row *row, FILE *out)
{
    struct spread spread = spread_of(row->figures, row->rounds);
    char figure[32], low[32], high[32], goal[48] = "", target[32];
    const char *unit = row->unit[0] ? row->unit : "";
    if (row->goal)
        snprintf(goal, sizeof goal, "%s %s %s", row->goal == GOAL_AT_LEAST ? ">=" : "<=", number(row->target, target, sizeof target),
                 bench_reached(row) ? "reached" : "MISSED");
    fprintf(out, "%-15s %8s %-5s [%s .. %s]%*s %-17s %s", row->name, number(spread.median, figure, sizeof figure), unit,
            number(spread.min, low, sizeof low), number(spread.max, high, sizeof high),
            (int)(16 - strlen(low) - strlen(high)) > 0 ? (int)(16 - strlen(low) - strlen(high)) : 0, "", goal, row->what);
    if (row->bytes && row->ours[0] > 0) {
        double ours = (double)row->bytes / median_of(row->ours, row->rounds) / 1e9,
               raw = (double)row->bytes / median_of(row->raw, row->rounds) / 1e9;
        fprintf(out, " (%.2f GB/s; %s %.2f)", ours, row->against, raw);
    }
    if (row->note[0]) fprintf(out, "; %s", row->note);
    if (row->disturbed) fprintf(out, "; %d of %d rounds disturbed", row->disturbed, row->rounds);
    fputc('\n', out);
}

void report_table(const struct bench *bench, FILE *out)
{
    const struct machine *machine = &bench->machine;
    fprintf(out, "%s, %d cores, %.0f GiB, %s, %s; state %.3g GiB, %d rounds, medians [min .. max]; cold: by %s\n\n", machine->processor,
            machine->cores, (double)machine->memory_bytes / (double)(1u << 30), machine->kernel, machine->file_system,
            (double)bench->options.size_bytes / (double)(1u << 30), bench->options.rounds, cache_dropped_by());
    for (int i = 0; i < bench->rows_count; i++) table_row(&bench->rows[i], out);
    for (int i = 0; i < bench->skipped_count; i++) fprintf(out, "skipped: %s\n", bench->skipped[i]);
    if (bench->unreliable) fprintf(out, "UNRELIABLE: the machine was busy with other programs\n");
}

/* ----------------------------------------------------------------------------------------------------------------- JSON */

static void json_text(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 32)
            fprintf(out, "\\u%04x", *text);
        else
            fputc(*text, out);
    fputc('"', out);
}

static void json_list(const char *name, const double *figures, int count, FILE *out)
{
    fprintf(out, ", \"%s\": [", name);
    for (int i = 0; i < count; i++) fprintf(out, "%s%.6g", i ? ", " : "", figures[i]);
    fputc(']', out);
}

static void json_row(const struct row *row, FILE *out)
{
    struct spread spread = spread_of(row->figures, row->rounds);
    static const char *const goals[] = { "none", "at least", "at most" };
    fprintf(out, "    {\"name\": \"%s\", \"what\": ", row->name);
    json_text(row->what, out);
    fprintf(out, ", \"against\": ");
    json_text(row->against, out);
    fprintf(out, ", \"unit\": \"%s\", \"median\": %.6g, \"min\": %.6g, \"quarter\": %.6g, \"three_quarters\": %.6g, \"max\": %.6g",
            row->unit, spread.median, spread.min, spread.quarter, spread.three_quarters, spread.max);
    fprintf(out, ", \"goal\": \"%s\", \"target\": %.6g, \"reached\": %s, \"bytes\": %llu, \"disturbed\": %d, \"note\": ", goals[row->goal],
            row->target, bench_reached(row) ? "true" : "false", (unsigned long long)row->bytes, row->disturbed);
    json_text(row->note, out);
    json_list("figures", row->figures, row->rounds, out);
    if (row->ours[0] > 0) json_list("ours_s", row->ours, row->rounds, out);
    if (row->raw[0] > 0) json_list("against_s", row->raw, row->rounds, out);
    fputc('}', out);
}

static void json_growth(const struct growth *growth, FILE *out)
{
    fprintf(out, ",\n  \"growth\": {\n    \"state\": [");
    for (int i = 0; i < growth->sizes_count; i++)
        fprintf(out, "%s{\"bytes\": %.0f, \"save_s\": %.6g, \"raw_s\": %.6g}", i ? ", " : "", growth->size[i].x, growth->size[i].ours,
                growth->size[i].other);
    fprintf(out, "],\n    \"kept\": [");
    for (int i = 0; i < growth->kept_count; i++)
        fprintf(out, "%s{\"checkpoints\": %.0f, \"save_s\": %.6g, \"list_s\": %.6g}", i ? ", " : "", growth->kept[i].x,
                growth->kept[i].ours, growth->kept[i].other);
    fprintf(out, "]\n  }");
}

void report_json(const struct bench *bench, const struct growth *growth, FILE *out)
{
    const struct machine *machine = &bench->machine;
    fprintf(out, "{\n  \"cairn\": \"%s\", \"date\": \"%s\", \"processor\": ", cairn_version(), machine->date);
    json_text(machine->processor, out);
    fprintf(out, ", \"cores\": %d, \"memory_bytes\": %llu, \"kernel\": ", machine->cores, (unsigned long long)machine->memory_bytes);
    json_text(machine->kernel, out);
    fprintf(out, ", \"file_system\": \"%s\",\n  \"state_bytes\": %llu, \"rounds\": %d, \"cache_dropped_by\": \"%s\", \"idle\": %s,\n",
            machine->file_system, (unsigned long long)bench->options.size_bytes, bench->options.rounds, cache_dropped_by(),
            bench->unreliable ? "false" : "true");
    fprintf(out, "  \"skipped\": [");
    for (int i = 0; i < bench->skipped_count; i++) {
        if (i) fputs(", ", out);
        json_text(bench->skipped[i], out);
    }
    fprintf(out, "],\n  \"rows\": [\n");
    for (int i = 0; i < bench->rows_count; i++) {
        json_row(&bench->rows[i], out);
        fputs(i + 1 < bench->rows_count ? ",\n" : "\n", out);
    }
    fprintf(out, "  ]");
    if (growth->sizes_count || growth->kept_count) json_growth(growth, out);
    fprintf(out, "\n}\n");
}
