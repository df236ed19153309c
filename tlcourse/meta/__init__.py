"""Part 6: learning to learn from a handful of examples."""

from tlcourse.meta.augment import quarter_turns, small_changes
from tlcourse.meta.comparison import Comparison, embedded
from tlcourse.meta.conv4 import Conv4, ConvMaps
from tlcourse.meta.entity_markers import entity_features, sentence_features
from tlcourse.meta.episodes import Episodes, sample_episodes, split_classes
from tlcourse.meta.episodic import FewShot, embed_all, evaluate_episodes, train_episodic
from tlcourse.meta.in_context import (
    CONTENT_FREE,
    Prefix,
    Wording,
    calibrate,
    classify_in_context,
    encode_prefix,
    score_words,
    write_demonstrations,
    write_prompt,
)
from tlcourse.meta.maml import InnerLoop, adapt, inner_step, meta_loss, outputs_by_step
from tlcourse.meta.matching import FullContext, MatchingNetwork, attention_kernel, vote
from tlcourse.meta.prototypical import PrototypicalNetwork, centred, prototypes, squared_distances
from tlcourse.meta.regression_transformer import (
    RegressionTasks,
    RegressionTransformer,
    errors_by_examples,
    least_squares,
    regression_loss,
    ridge,
    sample_regression_tasks,
    train_regression,
)
from tlcourse.meta.relation_network import RelationModule, RelationNetwork
from tlcourse.meta.reptile import reptile_gradient, set_gradient
from tlcourse.meta.sinusoid import Sinusoids, sample_sinusoids

__all__ = [
    "CONTENT_FREE",
    "Comparison",
    "Conv4",
    "ConvMaps",
    "Episodes",
    "FewShot",
    "FullContext",
    "InnerLoop",
    "MatchingNetwork",
    "Prefix",
    "PrototypicalNetwork",
    "RegressionTasks",
    "RegressionTransformer",
    "RelationModule",
    "RelationNetwork",
    "Sinusoids",
    "Wording",
    "adapt",
    "attention_kernel",
    "calibrate",
    "centred",
    "classify_in_context",
    "embed_all",
    "embedded",
    "encode_prefix",
    "entity_features",
    "errors_by_examples",
    "evaluate_episodes",
    "inner_step",
    "least_squares",
    "meta_loss",
    "outputs_by_step",
    "prototypes",
    "quarter_turns",
    "regression_loss",
    "reptile_gradient",
    "ridge",
    "sample_episodes",
    "sample_regression_tasks",
    "sample_sinusoids",
    "score_words",
    "sentence_features",
    "set_gradient",
    "small_changes",
    "split_classes",
    "squared_distances",
    "train_episodic",
    "train_regression",
    "vote",
    "write_demonstrations",
    "write_prompt",
]
