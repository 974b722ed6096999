"""The exceptions of the package: each message is one sentence that names the file or image and the remedy.

Dust3rSfmError
├── InputError            photographs, pair lists, models or options that cannot be used
│   └── ImageError        one photograph that cannot be used (dropped by name unless strict)
├── OutputError           the output folder is occupied, not writable or full
├── PredictorError        unknown predictor, or one that cannot do what is asked
│   └── WeightsError      a checkpoint that is missing, damaged, refused or of another architecture
└── ReconstructionError   the photographs do not give a model (no overlap, no baseline)

The command line prints the message and exits with code 1; anything else is a bug and shows its traceback.
"""


class Dust3rSfmError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(Dust3rSfmError):
    """Something given to the package cannot be used."""


class ImageError(InputError):
    """One photograph cannot be used."""


class OutputError(Dust3rSfmError):
    """The output folder is occupied by another run, not writable, or the disk is full."""


class PredictorError(Dust3rSfmError):
    """The predictor is unknown or cannot do what is asked of it."""


class WeightsError(PredictorError):
    """A checkpoint is missing, damaged, refused or of another architecture."""


class ReconstructionError(Dust3rSfmError):
    """The photographs do not give a model."""
