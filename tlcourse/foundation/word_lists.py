"""Word lists of four tests of Caliskan, Bryson and Narayanan 2017 (Science 356, 183–186, supplementary materials;
arXiv:1608.07187).

The words are those of the original, with its assumptions: two genders, and names that were common in the United States.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WordTest:
    """Targets x and y, attributes a and b; the prediction is that x goes with a and y with b.

    published: effect size in GloVe vectors (Table 1 of the paper), for comparison.
    """

    name: str
    x: tuple[str, ...]
    y: tuple[str, ...]
    a: tuple[str, ...]
    b: tuple[str, ...]
    published: float


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_PLEASANT = _words(
    "caress freedom health love peace cheer friend heaven loyal pleasure diamond gentle honest lucky rainbow "
    "diploma gift honor miracle sunrise family happy laughter paradise vacation"
)
_UNPLEASANT = _words(
    "abuse crash filth murder sickness accident death grief poison stink assault disaster hatred pollute tragedy "
    "divorce jail poverty ugly cancer kill rotten vomit agony prison"
)
_MALE = _words("male man boy brother he him his son")
_FEMALE = _words("female woman girl sister she her hers daughter")

TESTS = {
    "flowers": WordTest(
        "flowers and insects, pleasant and unpleasant",
        _words(
            "aster clover hyacinth marigold poppy azalea crocus iris orchid rose bluebell daffodil lilac pansy "
            "tulip buttercup daisy lily peony violet carnation gladiola magnolia petunia zinnia"
        ),
        _words(
            "ant caterpillar flea locust spider bedbug centipede fly maggot tarantula bee cockroach gnat mosquito "
            "termite beetle cricket hornet moth wasp blackfly dragonfly horsefly roach weevil"
        ),
        _PLEASANT,
        _UNPLEASANT,
        1.50,
    ),
    "career": WordTest(
        "male and female names, career and family",
        _words("John Paul Mike Kevin Steve Greg Jeff Bill"),
        _words("Amy Joan Lisa Sarah Diana Kate Ann Donna"),
        _words("executive management professional corporation salary office business career"),
        _words("home parents children family cousins marriage wedding relatives"),
        1.81,
    ),
    "mathematics": WordTest(
        "mathematics and arts, male and female terms",
        _words("math algebra geometry calculus equations computation numbers addition"),
        _words("poetry art dance literature novel symphony drama sculpture"),
        _MALE,
        _FEMALE,
        1.06,
    ),
    "science": WordTest(
        "science and arts, male and female terms",
        _words("science technology physics chemistry Einstein NASA experiment astronomy"),
        _words("poetry art Shakespeare dance literature novel symphony drama"),
        _words("brother father uncle grandfather son he his him"),
        _words("sister mother aunt grandmother daughter she hers her"),
        1.24,
    ),
}
