"""Floor 1: the data of the lessons, and a reader's own, in three immutable containers.

train, test = data.emoji(part="train"), data.emoji(part="test")
few = train.few(5, seed=0)
mine = data.images("my_pictures")
"""

from tlcourse.data.capstone import Capstone, capstone
from tlcourse.data.containers import Dataset, Images, Table, Texts
from tlcourse.data.digits import mnist, optdigits
from tlcourse.data.emoji import emoji
from tlcourse.data.glyphs import glyphs
from tlcourse.data.hub import ag_news, cifar10, eurosat, flowers102, pneumonia_mnist, sst2
from tlcourse.data.own import images, texts
from tlcourse.data.registry import COUNTERPARTS, LOADERS, load
from tlcourse.data.relations import Relations, relations
from tlcourse.data.sentiment import sentiment, text_sources
from tlcourse.data.tables import breast_cancer, photographs
from tlcourse.data.textiles import textiles

__all__ = [
    "COUNTERPARTS",
    "LOADERS",
    "Capstone",
    "Dataset",
    "Images",
    "Relations",
    "Table",
    "Texts",
    "ag_news",
    "breast_cancer",
    "capstone",
    "cifar10",
    "emoji",
    "eurosat",
    "flowers102",
    "glyphs",
    "images",
    "load",
    "mnist",
    "optdigits",
    "photographs",
    "pneumonia_mnist",
    "relations",
    "sentiment",
    "sst2",
    "text_sources",
    "textiles",
    "texts",
]
