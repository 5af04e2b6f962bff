"""Every text that the pages show, in English. Plain text; {placeholders} are filled by `broker.pages.branding`.

The operator may replace each by its key. A text must never hold markup: it is escaped where it is shown.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")

DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        "footer.note": "This page never asks for a password.",
        "footer.label": "About this service",
        # -- choosing a provider
        "chooser.title": "Choose how to sign in",
        "chooser.intro": "{client} asks you to sign in. Where do you have an account?",
        "chooser.list": "Places to sign in at",
        "chooser.option": "Continue with {provider}",
        "chooser.none": "None of the places where you could sign in can be reached now. Please try again later.",
        # -- consent
        "consent.title": "Allow access?",
        "consent.heading": "{client} wants to use your {provider} account",
        "consent.person": "Signed in at {provider}",
        "consent.unnamed": "Your account at {provider}",
        "consent.scopes": "If you allow it, this application can",
        "consent.account": "Use your account at {provider} on your behalf",
        "consent.scope.openid": "Recognise you when you come back",
        "consent.scope.profile": "See your name and the rest of your profile",
        "consent.scope.email": "See your e-mail address",
        "consent.scope.offline_access": "Stay connected while you are not using it",
        "consent.scope.other": "Use the permission {scope} at {provider}",
        "consent.scope.none": "See nothing but that you have signed in",
        "consent.return": "Allow or deny, you then return to {host}.",
        "consent.device": "You return to an app on this device."
        " Allow this only if you have just started to sign in from an app that you"
        " trust: any program on this device could have asked.",
        "consent.unchecked": "This application registered itself: nobody has checked its name.",
        "consent.third": "{client} is not run by {brand}.",
        "consent.website": "Website",
        "consent.policy": "Privacy policy",
        "consent.terms": "Terms of service",
        "consent.links": "About this application",
        "consent.remembered": "Your answer is remembered until the application asks for more.",
        "consent.allow": "Allow",
        "consent.deny": "Deny",
        "client.unnamed": "An application without a name",
        # -- connecting a device
        "device.title": "Connect a device",
        "device.intro": "Enter the code that your device shows.",
        "device.code": "Code",
        "device.continue": "Continue",
        "device.heading": "{client} wants to sign in on a device",
        "device.compare": "Your device must show this code:",
        "device.warning": "Continue only if you started this yourself, on a device in front of you."
        " If somebody sent you the code or a link, choose Deny: that person would get access to your account.",
        "device.unchecked": "Nobody has checked the name of this application: it registered itself.",
        "device.account": "Use your account on your behalf",
        "device.scope.other": "Use the permission {scope} of your account",
        "device.provider": "Where do you have an account?",
        "device.approved": "Your device is connected",
        "device.approved.next": "You can go back to your device, and close this page.",
        "device.denied": "Access denied",
        "device.denied.next": "The device was not connected. You can close this page.",
        "device.wrong": "This code is not valid, has expired or was already used."
        " Please check the code that your device shows.",
        "device.stale": "This page was open for too long, or cookies are off. Please continue once more.",
        "device.choose": "Please choose where you have an account.",
        "error.device": "The device cannot be connected",
        "error.device_failed_title": "The device was not connected",
        "error.device_failed": "The sign-in could not be completed. You can enter the code of your device again.",
        "error.device_request": "The request cannot be read. Please start again.",
        "error.device_guesses": "Too many wrong codes were entered."
        " Please wait some minutes, then ask your device for a new code.",
        # -- back to the application
        "return.title": "Signing you in",
        "return.intro": "One more step brings you back to the application.",
        "return.button": "Continue",
        "refused.back": "Go back to {host}",
        # -- signing out
        "logout.ask": "Sign out?",
        "logout.question": "Do you want to sign out of {client}?",
        "logout.button": "Sign out",
        "logout.title": "You are signed out",
        "logout.done": "You are signed out of {client}. You can close this page.",
        "logout.provider": "Where you have your account you may still be signed in.",
        # -- errors
        "error.title": "Sign-in cannot go on",
        "error.code": "Error",
        "error.request": "Request",
        "error.support": "If you ask for help, pass this on:",
        "error.again": "Please try again in a moment.",
        "error.reload": "Please reload this page in a moment.",
        "error.method": "Use GET or POST here.",
        "error.method_get": "Use GET here.",
        "error.method_post": "Use POST here.",
        "error.unreadable": "The sign-in request cannot be read. Please start again in the application.",
        "error.form": "The sign-in request must be a form, with nothing in its address.",
        "error.no_client": "The application that sent you here must name itself once (client_id).",
        "error.unknown_client": "The application that sent you here is not known (client_id).",
        "error.disabled_client": "The application that sent you here has been switched off.",
        "error.wrong_address": "The application that sent you here may not use this address.",
        "error.no_return": "The application must say once where to return to (redirect_uri).",
        "error.wrong_return": "The address to return to is not registered for this application (redirect_uri).",
        "error.wrong_request": "The application asked for something that it cannot have here, or asked in a wrong way.",
        "error.used_link": "This sign-in link has expired or was already used. Please start again.",
        "error.callback": "This sign-in has expired, was already completed, or began in another browser, or cookies are off."
        " Please start again.",
        "error.logout": "Sign-out cannot go on",
        "error.logout_request": "The sign-out request cannot be read. Please sign out in the application.",
        "error.logout_hint": "The application did not say rightly whose sign-in to end (id_token_hint)."
        " Please sign out in the application.",
        "error.logout_return": "The address to return to after signing out is not registered for this application"
        " (post_logout_redirect_uri).",
        "error.consent": "This question has been answered, has expired, or was asked in another browser, or cookies are off."
        " Please start again.",
    }
)
"""Key -> text."""

RETIRED = frozenset({"consent.scope.any"})
"""Keys that no page asks for any more. Stored brands may have them."""

KEYS: Mapping[str, str] = MappingProxyType({text: key for key, text in DEFAULTS.items()})
"""Text -> key, for texts that come from code which knows nothing of pages."""


def placeholders(text: str) -> set[str]:
    """The names in braces."""
    return set(_PLACEHOLDER.findall(text))


def filled(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders replaced, in one pass, so that a value is never searched for placeholders itself."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)
