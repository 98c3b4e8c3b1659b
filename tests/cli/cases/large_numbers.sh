# A checkpoint whose step and term are beyond 2^63, made of another one.
python3 - "$(dirname "$0")/../../golden" <<'PY'
import pathlib, re, sys
sys.path.insert(0, sys.argv[1])
from reader import tensor_rule
manifest = pathlib.Path("golden/checkpoint-40/manifest.json")
body = re.sub(rb'"digest":"[0-9a-f]{32}"\}\n\Z', b"", manifest.read_bytes())
body = body.replace(b'"step":40,', b'"step":18446744073709551614,').replace(b'"term":2,', b'"term":9223372036854775809,')
manifest.write_bytes(body + b'"digest":"%s"}\n' % tensor_rule(body).encode())
manifest.parent.rename("golden/checkpoint-18446744073709551614")
PY
$CAIRN ls golden | tail -1 | cut -c-60
$CAIRN ls --json golden | grep -E '"(step|term)": ' | tail -2
$CAIRN show --json golden@18446744073709551614 | grep -E '^  "(step|term)": '
$CAIRN ls --json golden | python3 -c 'import json,sys; print(json.load(sys.stdin)["checkpoints"][-1]["step"] == 2**64 - 2)'
$CAIRN verify golden@latest; echo "status $?"
