"""auth none: the cluster believes every name."""

from __future__ import annotations

from collections.abc import Sequence

from cephmonfs.auth.credentials import SECRET_SIZES, AuthMethod, AuthResult, Credentials
from cephmonfs.errors import AuthError, UnexpectedMessage
from cephmonfs.model.entity import EntityName


class NoneHandshake:
    """Method 1: the monitor answers at once; the old global_id is simply given back."""

    def __init__(self, entity: EntityName, prior: Credentials | None) -> None:
        self.method = AuthMethod.NONE
        self.entity = entity
        self.global_id = prior.global_id if prior else 0

    def more(self, payload: bytes) -> bytes:
        """There is nothing to ask."""
        raise UnexpectedMessage("a monitor asks for more in auth none")

    def done(self, payload: bytes, global_id: int, secret_sizes: Sequence[int] = SECRET_SIZES) -> AuthResult:
        """Take the global_id.  There are no secrets."""
        if not global_id:
            raise AuthError("the monitor gave global_id 0")
        return AuthResult(Credentials(global_id, {}), None, None)
