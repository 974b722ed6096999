"""How far a model is to be believed: facts of a finished run, and the judgement that follows from them."""

from dust3r_sfm.verdict.facts import ModelFacts
from dust3r_sfm.verdict.judge import GOOD, Level, Verdict, judge
from dust3r_sfm.verdict.measure import measure

__all__ = ["GOOD", "Level", "ModelFacts", "Verdict", "judge", "measure"]
