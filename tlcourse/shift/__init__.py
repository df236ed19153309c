"""Part 5: the world moves. What moved, how to tell, what to do about it, and how to keep up without forgetting."""

from tlcourse.shift.accuracy_matrix import average_accuracy, average_forgetting, backward_transfer, forward_transfer
from tlcourse.shift.adapt import Adaptation, adapt, weighted
from tlcourse.shift.adwin import Adwin
from tlcourse.shift.blend import blend, in_colour
from tlcourse.shift.coral import coral, coral_loss
from tlcourse.shift.corrections import bonferroni, holm
from tlcourse.shift.corruptions import CORRUPTIONS, corrupt
from tlcourse.shift.dann import Adversary, ramp, reverse_gradient
from tlcourse.shift.density_ratio import DensityRatio, density_ratio, out_of_fold_ratio
from tlcourse.shift.diagnose import Diagnosis, diagnose, within_class_test
from tlcourse.shift.ewc import EWC, diagonal_fisher, ewc_penalty, sample_labels
from tlcourse.shift.kernels import gaussian_kernel, median_bandwidth
from tlcourse.shift.kmm import kmm
from tlcourse.shift.label_shift import Priors, bbse, correct, em_priors, joint_confusion, moved_threshold
from tlcourse.shift.lwf import LwF, distillation
from tlcourse.shift.mmd import linear_mmd2, mmd2, mmd_loss
from tlcourse.shift.page_hinkley import PageHinkley
from tlcourse.shift.pseudo_label import SelfTraining, self_train, surest
from tlcourse.shift.replay import Replay, Reservoir
from tlcourse.shift.reweight import clip, effective_sample_size, flatten, weighted_accuracy, weighted_probe
from tlcourse.shift.sequence import Naive, TaskSequence, learn_sequence, task_accuracy
from tlcourse.shift.simulate import Shifted, concept_shift, covariate_shift, prior_shift
from tlcourse.shift.standardise import standardise
from tlcourse.shift.stream import Detector, OnlineLogistic, OnlineModel, Prequential, prequential
from tlcourse.shift.target_pretraining import MaskedTokenHead, hide, masked_token_loss, pretrain_on_texts
from tlcourse.shift.tasks import Task, choose, class_incremental, domain_incremental, task_incremental, task_loss
from tlcourse.shift.test_time import Tent, adapt_batch_norm, entropy
from tlcourse.shift.two_sample import PerFeature, TwoSample, classifier_test, feature_tests, mmd_test

__all__ = [
    "CORRUPTIONS",
    "EWC",
    "Adaptation",
    "Adversary",
    "Adwin",
    "DensityRatio",
    "Detector",
    "Diagnosis",
    "LwF",
    "MaskedTokenHead",
    "Naive",
    "OnlineLogistic",
    "OnlineModel",
    "PageHinkley",
    "PerFeature",
    "Prequential",
    "Priors",
    "Replay",
    "Reservoir",
    "SelfTraining",
    "Shifted",
    "Task",
    "TaskSequence",
    "Tent",
    "TwoSample",
    "adapt",
    "adapt_batch_norm",
    "average_accuracy",
    "average_forgetting",
    "backward_transfer",
    "bbse",
    "blend",
    "bonferroni",
    "choose",
    "class_incremental",
    "classifier_test",
    "clip",
    "concept_shift",
    "coral",
    "coral_loss",
    "correct",
    "corrupt",
    "covariate_shift",
    "density_ratio",
    "diagnose",
    "diagonal_fisher",
    "distillation",
    "domain_incremental",
    "effective_sample_size",
    "em_priors",
    "entropy",
    "ewc_penalty",
    "feature_tests",
    "flatten",
    "forward_transfer",
    "gaussian_kernel",
    "hide",
    "holm",
    "in_colour",
    "joint_confusion",
    "kmm",
    "learn_sequence",
    "linear_mmd2",
    "masked_token_loss",
    "median_bandwidth",
    "mmd2",
    "mmd_loss",
    "mmd_test",
    "moved_threshold",
    "out_of_fold_ratio",
    "prequential",
    "pretrain_on_texts",
    "prior_shift",
    "ramp",
    "reverse_gradient",
    "sample_labels",
    "self_train",
    "standardise",
    "surest",
    "task_accuracy",
    "task_incremental",
    "task_loss",
    "weighted",
    "weighted_accuracy",
    "weighted_probe",
    "within_class_test",
]
