"""Shows a page, or the part of it that changes while somebody looks at it."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def show(
    request: HttpRequest, name: str, context: dict[str, Any], *, now: datetime, part: bool
) -> HttpResponse:
    """The page `name`, or only its part; both say when they were made."""
    template = f"feed/parts/{name}.html" if part else f"feed/{name}.html"
    return render(request, template, context | {"now": now})
