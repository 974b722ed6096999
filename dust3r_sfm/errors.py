"""The exceptions of the package: each message is one sentence that names the file or image and the remedy.

Dust3rSfmError            `path`: the file or folder that it is about, where the raiser knows one
├── InputError            photographs, pair lists, models or options that cannot be used
│   └── ImageError        one photograph that cannot be used (dropped by name unless strict); `name`: of the photograph
├── OutputError           the output folder is occupied, not writable or full
├── PredictorError        unknown predictor, or one that cannot do what is asked
│   └── WeightsError      a checkpoint that is missing, damaged, refused or of another architecture
├── ReconstructionError   the photographs do not give a model (no overlap, no baseline)
├── TrainingError         training cannot go on
└── SampleError           one pair of a data set that cannot be used (passed over and counted)

The command line prints the message and exits with code 1; anything else is a bug and shows its traceback.
"""

from pathlib import Path


class Dust3rSfmError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: one sentence.
        path: the file or folder that it is about, so that a caller need not read the sentence.
    """

    def __init__(self, message: str = "", *, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class InputError(Dust3rSfmError):
    """Something given to the package cannot be used."""


class ImageError(InputError):
    """One photograph cannot be used.

    Args:
        message: one sentence.
        name: of the photograph in its image set.
        path: its file.
    """

    def __init__(self, message: str = "", *, name: str | None = None, path: Path | None = None) -> None:
        super().__init__(message, path=path)
        self.name = name


class OutputError(Dust3rSfmError):
    """The output folder is occupied by another run, not writable, or the disk is full."""


class PredictorError(Dust3rSfmError):
    """The predictor is unknown or cannot do what is asked of it."""


class WeightsError(PredictorError):
    """A checkpoint is missing, damaged, refused or of another architecture."""


class ReconstructionError(Dust3rSfmError):
    """The photographs do not give a model."""


class TrainingError(Dust3rSfmError):
    """Training cannot go on; the last checkpoint is intact."""


class SampleError(Dust3rSfmError):
    """One pair of a data set cannot be used; the mixture counts it and takes another."""
