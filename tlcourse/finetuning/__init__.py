"""Part 2: which weights should move, how fast, and what they forget on the way."""

from tlcourse.finetuning.augmentation import recolour, with_copies
from tlcourse.finetuning.depth import depths
from tlcourse.finetuning.drift import feature_drift, weight_drift
from tlcourse.finetuning.early_stopping import StepChoice, choose_steps
from tlcourse.finetuning.forgetting import Forgetting, forgetting
from tlcourse.finetuning.freezing import freeze, train_only, trainable, unfreeze
from tlcourse.finetuning.gradual_unfreezing import gradual_unfreezing, unfreezing_plan
from tlcourse.finetuning.heads import check_head, head_of, replace_head
from tlcourse.finetuning.l2_sp import L2SP
from tlcourse.finetuning.layer_decay import layer_decay_groups, parameter_groups
from tlcourse.finetuning.lp_ft import start_from_probe
from tlcourse.finetuning.names import named
from tlcourse.finetuning.plain_loop import plain_loop
from tlcourse.finetuning.recommend import Recommendation, arms_at, recommend
from tlcourse.finetuning.rehearsal import mix, per_task_loss
from tlcourse.finetuning.strategies import STRATEGIES, Run, fine_tune
from tlcourse.finetuning.with_trainer import with_trainer

__all__ = [
    "L2SP",
    "STRATEGIES",
    "Forgetting",
    "Recommendation",
    "Run",
    "StepChoice",
    "arms_at",
    "check_head",
    "choose_steps",
    "depths",
    "feature_drift",
    "fine_tune",
    "forgetting",
    "freeze",
    "gradual_unfreezing",
    "head_of",
    "layer_decay_groups",
    "mix",
    "named",
    "parameter_groups",
    "per_task_loss",
    "plain_loop",
    "recolour",
    "recommend",
    "replace_head",
    "start_from_probe",
    "train_only",
    "trainable",
    "unfreeze",
    "unfreezing_plan",
    "weight_drift",
    "with_copies",
    "with_trainer",
]
