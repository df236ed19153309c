"""Floor 1: the data of the lessons, and a reader's own, in three immutable containers."""

from tlcourse.data.containers import Dataset, Images, Table, Texts
from tlcourse.data.digits import mnist, optdigits
from tlcourse.data.emoji import emoji
from tlcourse.data.sentiment import sentiment
from tlcourse.data.textiles import textiles

__all__ = ["Dataset", "Images", "Table", "Texts", "emoji", "mnist", "optdigits", "sentiment", "textiles"]
