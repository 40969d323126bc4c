"""The wire: what the api takes and answers, as types for the api, for clients and for the OpenAPI document."""

from heliograph.wire.jobs import (
    ArtifactPage,
    ArtifactView,
    ErrorView,
    HistoryEntry,
    HistoryPage,
    JobPage,
    JobView,
    job_json,
)
from heliograph.wire.moment import Moment
from heliograph.wire.notices import AttemptView, NoticePage, NoticeView
from heliograph.wire.others import BackendPage, BackendView, MeView, UploadView
from heliograph.wire.problem import Problem, ProblemField
from heliograph.wire.submission import ChannelWishes, NotifyWishes, Submission

__all__ = [
    "ArtifactPage", "ArtifactView", "AttemptView", "BackendPage", "BackendView", "ChannelWishes", "ErrorView",
    "HistoryEntry", "HistoryPage", "JobPage", "JobView", "MeView", "Moment", "NoticePage", "NoticeView",
    "NotifyWishes", "Problem", "ProblemField", "Submission", "UploadView", "job_json",
]  # fmt: skip
