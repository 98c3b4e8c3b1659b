/* The commands: what each is called, which options it takes, and what its --help says. */
#include "cli.h"

const struct command cli_commands[] = {
    { "ls", cmd_ls, "Cj", "list runs, or the checkpoints of a run",
      "usage: cairn ls [-C STORE] [--json] [RUN]\n"
      "Lists the runs of a store; with RUN (a name or a path) the run's checkpoints.\n"
      "Marks: latest = highest of the line, head = the newest healthy and exact one, best = by the run's metric;\n"
      "tags are in quotes.\n"
      "It reads manifests alone, so that `ok` says nothing of the data: `cairn verify` looks at that.\n"
      "Example: cairn -C ckpts ls gpt-small\n" },
    { "show", cmd_show, "Cja", "what is in a checkpoint, a .safetensors file or a sharded folder",
      "usage: cairn show [-C STORE] [--json] [--all] CKPT|FILE\n"
      "Step, metrics, tags, tensors with their statistics, plain values, and the provenance of a checkpoint.\n"
      "CKPT is RUN@STEP, RUN@latest, RUN@best, RUN@TAG, or a path. --all lists every tensor, and values whole.\n"
      "Example: cairn show gpt-small@latest\n" },
    { "verify", cmd_verify, "Cjqs", "check every byte against its digest",
      "usage: cairn verify [-C STORE] [--json] [--quick] [--strict] CKPT|RUN|FILE...\n"
      "Reads everything and names every damaged block; --quick looks at manifests, sizes and headers.\n"
      "Of a run every checkpoint is checked, and the last line counts; one that others remove meanwhile is no damage.\n"
      "Of a file that Cairn did not write only the structure can be checked; what other tools may stumble over is a warning,\n"
      "and with --strict a failure.\n"
      "Exit status: 0 all well, 1 damage was found, 2 what was named holds no tensors, 3 it could not be read.\n"
      "Example: cairn verify gpt-small\n" },
    { "diff", cmd_diff, "Cjae", "compare two checkpoints tensor by tensor",
      "usage: cairn diff [-C STORE] [--json] [--all] [--read] A B\n"
      "Values that differ are shown as A's -> B's, long ones cut; --all prints every difference, not only the first 40. Metrics\n"
      "and the config are shown, too, but decide nothing. Equal digests settle a tensor; with --read every byte is read and\n"
      "checked.\n"
      "Exit status: 0 they hold the same tensors and values, 1 they differ, 3 one cannot be read, or is damaged.\n"
      "Example: cairn diff gpt-small@900 gpt-small@1000\n" },
    { "tag", cmd_tag, "Crpum", "put tags, a pin or late metrics on a checkpoint",
      "usage: cairn tag [-C STORE] [--remove] [--pin|--unpin] [--metric NAME=VALUE]... CKPT [TAG...]\n"
      "Adds the tags, or takes them off with --remove (1: one is not there). What is tagged or pinned is never pruned.\n"
      "Works beside a training that saves. A tag is no number, not latest, best, head or pinned, and has no space, '/', '@' or '~'.\n"
      "Example: cairn tag gpt-small@900 release --pin --metric accuracy=0.83\n" },
    { "du", cmd_du, "Cj", "what checkpoints take on the disk",
      "usage: cairn du [-C STORE] [--json] [RUN...]\n"
      "SIZE: all files of a checkpoint. OWN: what removing it would free. SHARED: in files that other checkpoints have, too,\n"
      "as hard links. The last line counts every file once. Without RUN: every run of the store.\n"
      "Example: cairn du gpt-small\n" },
    { "keep", cmd_keep, "Cjnlbmx", "remove old checkpoints, keep the newest and the best",
      "usage: cairn keep [-C STORE] [--json] [-n|--dry-run] [--last N] [--best K --metric NAME [--max]] RUN...\n"
      "Of each run the newest N healthy checkpoints stay, the K best by the metric (--max: larger is better), and what `best`\n"
      "leads to, tagged, pinned and read ones. What the run went back from goes, and unhealthy ones but for two.\n"
      "--dry-run only tells, and why each of the others would stay.\n"
      "Exit status: 0 fine, 3 one that should go could not be removed, or a run not be listed; the others went.\n"
      "Example: cairn keep --last 5 --dry-run gpt-small\n" },
    { "rm", cmd_rm, "Ci", "remove checkpoints, or one item of them",
      "usage: cairn rm [-C STORE] [--item ITEM] CKPT...\n"
      "Removes checkpoints of a run; with --item only the tensors of that item (optimizer, not model). What the run\n"
      "resumes from stays - the newest, the newest healthy, the newest whole one -, so do the best, tagged and pinned ones, and\n"
      "those that somebody reads.\n"
      "Example: cairn rm gpt-small@100 gpt-small@200~1\n" },
    { "doctor", cmd_doctor, "j", "try out a folder before a long run is started there",
      "usage: cairn doctor [--json] DIR\n"
      "Tries out links, locks, renames, direct I/O and syncs, and measures how fast a checkpoint is saved and verified there.\n"
      "Writes 256 MiB (or a quarter of what is free) and removes it again.\n"
      "Exit status: 0 everything is there, 1 something is missing, or the place is full; the line says what that means.\n"
      "Example: cairn doctor /data/ckpts\n" },
};
const int cli_commands_count = sizeof cli_commands / sizeof *cli_commands;
