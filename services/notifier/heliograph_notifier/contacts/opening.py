"""Opening the contact directory that the settings name."""

from heliograph_notifier.contacts.file import FileContacts
from heliograph_notifier.contacts.port import Contacts
from heliograph_notifier.contacts.remembered import RememberedContacts
from heliograph_notifier.settings import NotifierSettings


def open_contacts(settings: NotifierSettings) -> Contacts | None:
    """Return the directory, None where none is named. A database is asked only when somebody is looked for.

    Raises
    ------
    ContactsFileError
        The file cannot be read any more.
    """
    if settings.contacts_file is not None:
        return FileContacts(settings.contacts_file)
    if settings.contacts_url is not None and settings.contacts_query is not None:
        # Both load SQLAlchemy, at 0.2 s and 11 MB of memory: for those alone who have such a database.
        from heliograph_notifier.contacts.engines import CONNECTIONS, open_engine  # noqa: PLC0415
        from heliograph_notifier.contacts.query import PeopleQuery  # noqa: PLC0415

        query = PeopleQuery(open_engine(settings.contacts_url), settings.contacts_query)
        return RememberedContacts(query, seconds=settings.contacts_seconds, abreast=CONNECTIONS)
    return None
