"""Entry point of the API process and the only place where adapters are chosen and wired.

python -m uvicorn app.main:create_app --factory
"""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from types import FrameType
from typing import Any

import structlog
from anyio import CapacityLimiter
from fastapi import FastAPI
from sqlalchemy import Engine

from app import __version__
from app.api import errors, middleware, openapi
from app.api.deps import Adapters
from app.api.routes import ROUTERS, methods_of
from app.api.streams import listen
from app.api.streams.follower import Follower
from app.api.telemetry import Telemetry
from app.core import logs
from app.core.db.session import make_engine, make_sessions
from app.core.events.notifier import Notifier
from app.core.queue import WorkerQueue
from app.core.settings import Settings
from app.core.storage import open_storage
from app.services.counting.layouts import Layouts
from app.services.counting.lengths import TokenLengths
from app.services.counting.overlaps import Overlaps
from app.services.partial_uploads import UnderWay
from app.services.preview import Previews

MAX_CONCURRENT_UPLOADS = 16
_log = structlog.get_logger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application without connecting to anything.

    An API whose database is down still starts, and reports the outage in its responses.
    """
    settings = settings or Settings()
    logs.configure(settings.log_format)
    logs.adopt("uvicorn", "uvicorn.error", "uvicorn.access")
    logs.silence("uvicorn.access")
    if not settings.database_url or not settings.redis_url:
        raise SystemExit(
            "Set TUNESMITH_DATABASE_URL and TUNESMITH_REDIS_URL, or start with `tunesmith up`."
        )
    engine = make_engine(settings.database_url)
    executor = ThreadPoolExecutor(1, thread_name_prefix="notify")
    adapters = _adapters(settings, settings.redis_url, engine, executor)
    follower = Follower(adapters.sessions)
    app = FastAPI(
        title="Tunesmith",
        version=__version__,
        description="Fine-tuning as a job API.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(settings.redis_url, adapters, executor, follower),
        generate_unique_id_function=lambda route: route.name,
        middleware=middleware.stack(settings, adapters.telemetry),
        redirect_slashes=False,
    )
    app.state.adapters = adapters
    app.state.follower = follower
    app.state.methods_of = methods_of
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    openapi.install(app)
    return app


def _adapters(
    settings: Settings, redis_url: str, engine: Engine, executor: ThreadPoolExecutor
) -> Adapters:
    notifier = Notifier(redis_url)

    def notify(job_id: str) -> None:
        # On a separate thread, so that a broker that hangs cannot delay a request.
        with suppress(RuntimeError):  # the executor has been shut down
            executor.submit(notifier.notify_followers, job_id)

    storage = open_storage(settings)
    return Adapters(
        settings=settings,
        engine=engine,
        sessions=make_sessions(engine),
        storage=storage,
        measures=TokenLengths(storage),
        layouts=Layouts(storage),
        overlaps=Overlaps(storage),
        previews=Previews(),
        queue=WorkerQueue(redis_url),
        notify=notify,
        telemetry=Telemetry(),
        uploads=CapacityLimiter(MAX_CONCURRENT_UPLOADS),
        completing=UnderWay(),
    )


def _lifespan(
    redis_url: str, adapters: Adapters, executor: ThreadPoolExecutor, follower: Follower
) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _on_stop_signals(follower.close)
        tasks = [
            asyncio.create_task(follower.run()),
            asyncio.create_task(listen.listen(redis_url, follower)),
        ]
        try:
            yield
        finally:
            follower.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            executor.shutdown(wait=False, cancel_futures=True)
            adapters.measures.close()
            adapters.layouts.close()
            adapters.overlaps.close()
            adapters.engine.dispose()

    return lifespan


def _on_stop_signals(stop: Callable[[], None]) -> None:
    """Call `stop` when a shutdown signal arrives, before uvicorn's own handler runs.

    On shutdown, uvicorn 0.54 waits for open requests to finish without notifying them, and an
    event stream would never finish. Its signal handlers are therefore wrapped, so that streams
    end by themselves.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        inner = signal.getsignal(number)
        if not callable(inner):
            continue

        def handle(number: int, frame: FrameType | None, inner: Any = inner) -> None:
            loop.call_soon_threadsafe(stop)
            inner(number, frame)

        signal.signal(number, handle)
