"""Whom the public can ask: what an operator may write, and where it shows."""

from dataclasses import replace

import pytest
from django.conf import settings
from django.test import Client, override_settings

from jobrunner.controller.configuration import Configuration, ConfigurationProblem, Contact, from_environment

pytestmark = pytest.mark.unit

NAME, LINK = "JOBRUNNER_CONTROLLER_CONTACT_NAME", "JOBRUNNER_CONTROLLER_CONTACT_LINK"


def about(contact: Contact | None) -> str:
    chosen: Configuration = replace(settings.CONFIGURATION, contact=contact)
    with override_settings(CONFIGURATION=chosen):
        return Client(HTTP_HOST="localhost").get("/about").content.decode()


@pytest.mark.parametrize(
    "link",
    [
        "mailto:ask@example.org",
        "mailto:first.last+jobs@data.example.org",
        "https://example.org",
        "https://example.org:8443/contact?about=jobs#form",
    ],
)
def test_a_name_and_a_link_are_taken_and_shown(link: str) -> None:
    contact = from_environment({NAME: "Northern Data Trust", LINK: link}).contact
    assert contact == Contact("Northern Data Trust", link)
    assert f'href="{link}"' in about(contact)
    assert ">Northern Data Trust</a>" in about(contact)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "ask@example.org",
        "mailto:",
        "mailto:ask",
        "mailto:ask@localhost",
        "mailto:ask@example.org?subject=Money",
        "mailto:one@example.org,two@example.org",
        "http://example.org",
        "https://",
        "https:///path",
        "https://user:secret@example.org",
        "https://example.org/a b",
        "https://[example.org",
        "https://example.org/\n",
        "javascript:alert(1)",
        "data:text/html,x",
        " https://example.org",
        "https://example.org/" + "x" * 300,
    ],
)
def test_a_link_that_is_not_plainly_one_is_refused(link: str) -> None:
    with pytest.raises(ConfigurationProblem, match=f"^{LINK}: "):
        from_environment({NAME: "Northern Data Trust", LINK: link})


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "bell\a", "\N{RIGHT-TO-LEFT OVERRIDE}x", "x" * 101])
def test_a_name_that_is_not_one_line_of_text_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationProblem, match=f"^{NAME}: "):
        from_environment({NAME: name, LINK: "https://example.org"})


def test_without_both_nothing_is_said() -> None:
    assert from_environment({}).contact is None
    assert "About this site:" not in about(None)


def test_a_name_is_shown_as_text() -> None:
    text = about(Contact("<b>Trust</b>", "https://example.org/?a=1&b=2"))
    assert "&lt;b&gt;Trust&lt;/b&gt;" in text
    assert "<b>" not in text
