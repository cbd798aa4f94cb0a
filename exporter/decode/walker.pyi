from collections.abc import Mapping

from engine.records import Batch, ChangeType
from engine.strings import Resources, StringTable

ENTRIES_CAP: int
BYTES_CAP: int

class Walker:
    clears: int
    def __init__(
        self,
        strings: StringTable,
        resources: Resources,
        event_types: Mapping[str, ChangeType],
        *,
        entries_cap: int = ...,
        bytes_cap: int = ...,
    ) -> None: ...
    def traces(self, raw: bytes) -> Batch: ...
    def logs(self, raw: bytes) -> Batch: ...
    def metrics(self, raw: bytes) -> Batch: ...
