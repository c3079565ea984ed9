"""The server-side attack plugin under the name by which users import it; see `judges.bench.live`."""

from judges.bench.live import LiveAttack as LiveAttack
