"""`best_of` in a query → among how many faces the best is picked.

Knows nothing about faces or critics, beyond whether there is one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from service.errors import InvalidParameter

BEST_OF = "best_of"

_COUNT = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class BestOf:
    """What may be asked for. `most`: VISAGE_MAX_BEST_OF; `critic`: whether the model has one."""

    most: int
    critic: bool

    @property
    def offered(self) -> bool:
        """Whether anything but 1 can be had."""
        return self.critic and self.most > 1

    def parse(self, text: str) -> int | InvalidParameter:
        """The number of candidates, or why it cannot be had. 1 is as without it, everywhere."""
        if text == "1":
            return 1
        if self.most == 1:
            detail = "best_of is off on this server: leave it out, or raise VISAGE_MAX_BEST_OF."
            return InvalidParameter(BEST_OF, detail, ("1",))
        if not self.critic:
            detail = (
                f"best_of={text} needs a critic, and this model's checkpoint has none: leave it "
                "out, or serve one that was made by `python -m training export --critic`."
            )
            return InvalidParameter(BEST_OF, detail, ("1",))
        if _COUNT.fullmatch(text) and int(text) <= self.most:
            return int(text)
        detail = f"best_of={text} is not a whole number from 1 to {self.most}."
        return InvalidParameter(BEST_OF, detail, (f"1…{self.most}",))


def pictures_wanted(query: Iterable[tuple[str, str]], most: int) -> int:
    """How many pictures a request for a face costs; 1 where `best_of` is no good anyway."""
    text = next((text.strip() for name, text in query if name.casefold() == BEST_OF), "1")
    return int(text) if _COUNT.fullmatch(text) and int(text) <= most else 1
