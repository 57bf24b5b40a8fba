"""auth none: nothing is asked, nothing is proven."""

from __future__ import annotations

import pytest

from cephmonfs.auth.credentials import AuthMethod
from cephmonfs.auth.none import NoneHandshake
from cephmonfs.errors import AuthError, UnexpectedMessage
from cephmonfs.model.entity import EntityName, EntityType

WHO = EntityName(EntityType.CLIENT, "df")


def test_none() -> None:
    client = NoneHandshake(WHO, None)
    assert (client.method, client.entity, client.global_id) == (AuthMethod.NONE, WHO, 0)
    with pytest.raises(UnexpectedMessage):
        client.more(b"")
    with pytest.raises(AuthError, match="global_id 0"):
        client.done(b"", 0)
    result = client.done(b"", 5)
    assert (result.session_key, result.connection_secret) == (None, None)
    assert result.credentials.shortest_validity_s() is None
    assert NoneHandshake(WHO, result.credentials).global_id == 5
