"""Part 6: learning to learn from a handful of examples."""

from tlcourse.meta.augment import quarter_turns, small_changes
from tlcourse.meta.comparison import Comparison, embedded
from tlcourse.meta.conv4 import Conv4, ConvMaps
from tlcourse.meta.entity_markers import entity_features, sentence_features
from tlcourse.meta.episodes import Episodes, sample_episodes, split_classes
from tlcourse.meta.episodic import FewShot, embed_all, evaluate_episodes, train_episodic
from tlcourse.meta.maml import InnerLoop, adapt, inner_step, meta_loss, outputs_by_step
from tlcourse.meta.matching import FullContext, MatchingNetwork, attention_kernel, vote
from tlcourse.meta.prototypical import PrototypicalNetwork, centred, prototypes, squared_distances
from tlcourse.meta.relation_network import RelationModule, RelationNetwork
from tlcourse.meta.reptile import reptile_gradient, set_gradient
from tlcourse.meta.sinusoid import Sinusoids, sample_sinusoids

__all__ = [
    "Comparison",
    "Conv4",
    "ConvMaps",
    "Episodes",
    "FewShot",
    "FullContext",
    "InnerLoop",
    "MatchingNetwork",
    "PrototypicalNetwork",
    "RelationModule",
    "RelationNetwork",
    "Sinusoids",
    "adapt",
    "attention_kernel",
    "centred",
    "embed_all",
    "embedded",
    "entity_features",
    "evaluate_episodes",
    "inner_step",
    "meta_loss",
    "outputs_by_step",
    "prototypes",
    "quarter_turns",
    "reptile_gradient",
    "sample_episodes",
    "sample_sinusoids",
    "sentence_features",
    "set_gradient",
    "small_changes",
    "split_classes",
    "squared_distances",
    "train_episodic",
    "vote",
]
