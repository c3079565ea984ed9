"""The server-side attack plugin, under the name that users import it by; it lives in `judges.bench.live`."""

from judges.bench.live import LiveAttack as LiveAttack
