"""One process of the concurrency test: `python -m tests.contract.process KIND WHERE NAME EACH TOTAL LOG`."""

from __future__ import annotations

import sys
import time

from spoolq.store.effects import Effects
from tests.contract.backends import open_spec
from tests.contract.hands import Hand, id_of, message


def main(kind: str, where: str, name: str, each: str, total: str, path: str) -> int:
    store = open_spec(kind, where)
    hand = Hand(store, name)
    shared, wanted = int(each) // 10, int(total) + int(each) // 10
    to_put = [message(f"{name}-{n}") for n in range(int(each))]
    to_put += [message(f"shared-{n}", given=True) for n in range(shared)]
    deadline = time.monotonic() + 80
    with open(path, "w") as log:
        while time.monotonic() < deadline:
            batch, to_put = to_put[:7], to_put[7:]
            if batch:
                log.writelines(f"NEW {m.id}\n" for m, new in zip(batch, store.put(batch), strict=True) if new)
            claims = hand.claim(5)
            log.writelines(f"CLAIM {id_of(claim)}\n" for claim in claims)
            if claims:
                store.ack(claims, Effects(counters=(("done", len(claims)),)))
            elif not to_put:
                if store.counters().get("done", 0) >= wanted:
                    store.close()
                    return 0
                store.wait(hand.info, ["q"], 0.2)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
