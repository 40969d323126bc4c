"""The wire: what the api takes and answers, as types for the api, for clients and for the OpenAPI document."""

from heliograph.wire.agents import (
    BeatView,
    ClaimPage,
    ClaimRequest,
    ClaimView,
    LeaseRequest,
    ReleaseRequest,
    ReportRequest,
)
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
from heliograph.wire.queues import (
    IssuedToken,
    QueueDeclaration,
    QueuePage,
    QueueView,
    TokenPage,
    TokenRequest,
    TokenView,
)
from heliograph.wire.submission import ChannelWishes, NotifyWishes, Submission

__all__ = [
    "ArtifactPage", "ArtifactView", "AttemptView", "BackendPage", "BackendView", "BeatView", "ChannelWishes",
    "ClaimPage", "ClaimRequest", "ClaimView", "ErrorView", "HistoryEntry", "HistoryPage", "IssuedToken", "JobPage",
    "JobView", "LeaseRequest", "MeView", "Moment", "NoticePage", "NoticeView", "NotifyWishes", "Problem",
    "ProblemField", "QueueDeclaration", "QueuePage", "QueueView", "ReleaseRequest", "ReportRequest", "Submission",
    "TokenPage", "TokenRequest", "TokenView", "UploadView", "job_json",
]  # fmt: skip
