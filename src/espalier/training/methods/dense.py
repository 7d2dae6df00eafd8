"""Dense training: the baseline, and the first phase of methods that prune."""

from __future__ import annotations

from espalier.training.phase_trainer import PhaseTrainer
from espalier.training.phases import MakeTrainer, Phase
from espalier.training.settings import Settings


def phases(settings: Settings) -> list[Phase]:
    """One phase, along one cosine."""
    return [dense_phase(1.0)]


def dense_phase(part: float) -> Phase:
    """Ordinary training for a part of the epochs."""
    return Phase("dense", part, PhaseTrainer)


def pruning_phases(
    settings: Settings, name: str, prune: MakeTrainer, finetune: MakeTrainer, least_steps: int = 1
) -> list[Phase]:
    """Dense, then a phase of this name that makes the zeros, then fine-tuning."""
    rest = 1.0 - settings.dense_part - settings.sparsify_part
    return [
        dense_phase(settings.dense_part),
        Phase(name, settings.sparsify_part, prune, least_steps),
        Phase("finetune", rest, finetune),
    ]
