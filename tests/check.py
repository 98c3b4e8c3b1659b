"""What check.sh is for scripts in Python: `ok - LABEL: NAME` and `not ok - LABEL: NAME`, the latter with what there was instead."""

SHOWN = 2000  # characters


class Checks:
    """check = Checks("label"); check("name", good, why); sys.exit(check.failed != 0)."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.failed = 0

    def __call__(self, name: str, good: bool, why: object = "") -> None:
        print(f"{'ok' if good else 'not ok'} - {self.label}: {name}", flush=True)
        if good:
            return
        self.failed += 1
        plain = isinstance(why, str) and why.replace("\n", "").isprintable()
        print("    " + (str(why).replace("\n", "\n    ") if plain else repr(why))[:SHOWN])
