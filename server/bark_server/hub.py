"""All sessions of one server: whose socket is whose, who may come back, where the engine's events go.

No sockets: a door brings a `Link`. Runs in one thread; the engine's events are brought there by `post`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bark_server.admission import Admission
from bark_server.errors import ClientError
from bark_server.limits import Limits
from bark_server.notices import Observer
from bark_server.protocol import Session
from bark_server.services import Model, Services, SpeechRequest
from bark_server.speech import Engine, SpeechStream
from bark_stream.events import Event


class Link(Protocol):
    """A door's end of a session."""

    def wake(self) -> None:
        """The session may have something to send."""

    def taken_over(self) -> None:
        """The session now belongs to another link: close, and leave it alone."""


class Hub:
    def __init__(
        self,
        *,
        engine: Engine,
        limits: Limits,
        observe: Observer,
        clock: Callable[[], float],
        post: Callable[[Callable[[], None]], object],
        new_id: Callable[[], str],
    ) -> None:
        self.admission = Admission(limits)
        self._engine = engine
        self._limits = limits
        self._clock = clock
        self._post = post
        self._new_id = new_id
        self._services = Services(
            model=Model(
                name=engine.model_name,
                sample_rate_hz=engine.sample_rate_hz,
                list_voices=lambda: engine.voices,
                voice_origin=engine.voice_origin,
                default_voice=engine.default_voice,
                sampling=engine.default_sampling,
            ),
            limits=limits,
            admission=self.admission,
            open_speech=self._open_speech,
            observe=observe,
        )
        self._sessions: dict[str, Session] = {}
        self._links: dict[str, Link] = {}
        self._num_connected = 0

    @property
    def sessions(self) -> tuple[Session, ...]:
        return tuple(self._sessions.values())

    @property
    def model(self) -> Model:
        return self._services.model

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def num_links(self) -> int:
        return len(self._links)

    @property
    def is_quiet(self) -> bool:
        """No session has anything left to speak or, to a client that is there, to send."""
        return all(session.is_quiet or session.id not in self._links for session in self._sessions.values())

    def now(self) -> float:
        """On the sessions' clock, in seconds."""
        return self._clock()

    def connect(self, link: Link, *, is_resumable: bool = True) -> Session:
        """A new client on a new link. Unless that `is_resumable`, nobody learns how the session could be had."""
        self._num_connected += 1
        session = Session(
            self._services,
            session_id=self._new_id(),
            label=f"s{self._num_connected}",
            now=self._clock(),
            is_resumable=is_resumable,
        )
        self._sessions[session.id] = session
        self._links[session.id] = link
        return session

    def receive(self, session: Session, data: bytes | str, link: Link) -> Session:
        """One message. Returns the session that `link` speaks for from now on: another one after a `resume`."""
        now = self._clock()
        request = session.receive(data, now)
        if request is None:
            return session
        former = self._sessions.get(request.session)
        if former is None or former is session or not former.resume(request.received, now, request.frames):
            session.fail(ClientError("resume_expired", "this session can no longer be resumed"))
            return session
        old_link = self._links.get(former.id)
        if old_link is not None:
            old_link.taken_over()
        self._links[former.id] = link
        self._remove(session)
        return former

    def disconnect(self, session: Session, link: Link, *, is_final: bool) -> None:
        """The socket is gone. Unless that `is_final`, what it spoke for lives on for the resume window."""
        if self._links.get(session.id) is not link:
            return
        del self._links[session.id]
        if is_final or session.ending is not None or not session.is_worth_resuming:
            self._remove(session)
            return
        session.detach(self._clock())
        self._keep_newest_detached()

    def _keep_newest_detached(self) -> None:
        detached = [session for session in self.sessions if session.detached_since_s is not None]
        # Sessions are in the order in which they were made, so the oldest go first.
        for session in detached[: -self._limits.max_connections]:
            self._remove(session)

    def sweep(self) -> None:
        """Free the sessions nobody came back for."""
        now = self._clock()
        for session in self.sessions:
            if session.detached_since_s is None:
                continue
            session.tick(now)
            if now - session.detached_since_s > self._limits.resume_window_ms / 1000:
                self._remove(session)

    def drain(self) -> None:
        """Admit nothing, let every session speak out."""
        self.admission.is_draining = True
        for session in self.sessions:
            session.drain(self._clock())
            self._wake(session)

    def close(self) -> None:
        """Free everything."""
        for session in self.sessions:
            self._remove(session)

    def stalled_s(self) -> float:
        """For how long the engine has owed somebody audio without making any."""
        now = self._clock()
        return max((session.stalled_s(now) for session in self._sessions.values()), default=0.0)

    def _open_speech(self, session_id: str, request: SpeechRequest) -> SpeechStream:
        def on_event(event: Event) -> None:
            self._post(lambda: self._deliver(session_id, request.number, event))

        return self._engine.open(
            on_event=on_event,
            voice=request.voice,
            seed=request.seed,
            sampling=request.sampling,
            policy=request.policy,
        )

    def _deliver(self, session_id: str, number: int, event: Event) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            session.on_speech(number, event, self._clock())
            self._wake(session)

    def _wake(self, session: Session) -> None:
        link = self._links.get(session.id)
        if link is not None:
            link.wake()

    def _remove(self, session: Session) -> None:
        session.abandon()
        self._sessions.pop(session.id, None)
        self._links.pop(session.id, None)
