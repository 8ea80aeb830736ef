"""`streamd bench`: how early, steady, right and cheap captions are on this machine."""

from streamd.bench.own import Streamd
from streamd.bench.peers import peer
from streamd.bench.reference import Recording, load
from streamd.bench.report import Report
from streamd.bench.run import Plan, normaliser, run
from streamd.bench.subject import Subject

__all__ = ["Plan", "Recording", "Report", "Streamd", "Subject", "load", "normaliser", "peer", "run"]
