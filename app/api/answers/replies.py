"""Builds the response to a POST that creates a resource, first time or replayed."""

from fastapi import status
from fastapi.responses import JSONResponse, Response

from app.services.idempotency import Answer


def created(collection: str, answer: Answer) -> Response:
    headers = {"Location": f"{collection}/{answer.body['id']}"}
    if answer.is_replay:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(answer.body, status.HTTP_201_CREATED, headers)
