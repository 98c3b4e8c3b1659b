#!/usr/bin/env bash
# The layer borders hold: a forbidden include does not compile, a permitted one does, and only os knows threads, memory and system calls.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0
bad() { echo "not ok - $1"; status=1; }
try() { # try LAYER HEADER: with the include path the Makefile gives that layer
    printf '#include "%s"\n' "$2" | gcc -std=gnu11 -D_GNU_SOURCE -I"build/include/$1" -Iinclude -fsyntax-only -x c - 2>/dev/null
}
forbid() { if [ ! -e "src/$2" ]; then bad "$2 is not there to be forbidden"; elif try "$1" "$2"; then bad "$1 can include $2"; else echo "ok - $1 cannot include $2"; fi; }
permit() { if try "$1" "$2"; then echo "ok - $1 can include $2"; else bad "$1 cannot include $2"; fi; }
forbid base os/os.h; forbid os io/pump.h; forbid io format/safetensors.h; forbid io store/commit.h; forbid format os/os.h
forbid store io/pump.h; forbid store format/safetensors.h; forbid store snapshot/save.h; forbid snapshot manager/run.h; forbid manager api/run.c
forbid policy os/os.h; forbid policy store/catalog.h; forbid store policy/keep.h; forbid snapshot policy/keep.h
permit os base/error.h; permit io os/os.h; permit format base/json.h; permit store os/os.h; permit snapshot store/commit.h; permit manager snapshot/save.h; permit policy base/error.h; permit manager policy/keep.h
if printf '#include "base/json.h"\n' | gcc -Iinclude -fsyntax-only -x c - 2>/dev/null; then bad 'the program can see inside'; else echo 'ok - the program sees cairn.h alone'; fi
if grep -ln '#include "\(base\|os\|io\|format\|policy\|store\|snapshot\|manager\|api\)/' cli/*.[ch] examples/*.c examples/*/*.[ch] 2>/dev/null; then bad 'cli or examples look inside'; else echo 'ok - cli and examples do not look inside'; fi
calls='malloc|calloc|realloc|free|pthread_[a-z_]*|clock_gettime|time|getrandom|mmap|munmap|madvise|nanosleep|syscall'
calls+='|open|openat|creat|close|dup|fcntl|flock|lockf|ioctl|read|readv|pread|preadv|write|writev|pwrite|pwritev|copy_file_range|sendfile'
calls+='|sync|syncfs|fsync|fdatasync|sync_file_range|truncate|ftruncate|fallocate|posix_fallocate|posix_fadvise'
calls+='|rename|renameat|renameat2|link|linkat|symlink|symlinkat|readlink|readlinkat|unlink|unlinkat|remove|mkdir|mkdirat|rmdir|mkstemp|mkdtemp'
calls+='|chmod|fchmod|chown|fchown|stat|lstat|fstat|fstatat|statx|statfs|fstatfs|statvfs|fstatvfs|access|faccessat|utimensat|futimens'
calls+='|opendir|fdopendir|readdir|scandir|nftw|realpath|getcwd|chdir|fopen|fdopen|fclose|fread|fwrite|fgets|fputs|fflush|fprintf|printf|puts|getline'
if [ -z "$(find build/obj/src/store -name '*.o' 2>/dev/null)" ]; then bad 'nothing is built to look into'; fi
if grep -rln '#include <\(pthread\|fcntl\|unistd\|sys/mman\|sys/stat\|time\|dirent\)\.h>' src --include='*.[ch]' | grep -v '^src/os/'; then bad 'a system header outside os'; else echo 'ok - no system header outside os'; fi
found=$(find build/obj/src -name '*.o' -not -path '*/src/os/*' | while read -r o; do nm -u "$o" | grep -wE "U ($calls)(64)?" | sed "s|^|$o:|"; done)
if [ -n "$found" ]; then echo "$found"; bad 'system calls outside os'; else echo 'ok - no system call, thread or malloc outside os'; fi
exit $status
