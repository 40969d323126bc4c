"""What a group's notices are about: its campaigns, which the notifiers keep."""

from heliograph.notices.indexes import CAMPAIGNS
from heliograph.notices.model import Subject, SubjectKind
from heliograph.storage import Database
from heliograph.storage.errors import translated

MOST = 100  # campaigns of one group that are looked at


class CampaignSubjects:
    """Finds campaigns by whose work they are."""

    def __init__(self, database: Database) -> None:
        self._campaigns = database.collection(CAMPAIGNS)

    async def of_group(self, owner: str, group: str) -> list[Subject]:
        """Return those of an owner's group, the newest first."""
        with translated():
            found = (
                await self._campaigns.find({"owner": owner, "group": group}, {"_id": 1}).sort("_id", -1).to_list(MOST)
            )
        return [Subject(SubjectKind.GROUP, document["_id"]) for document in found]
