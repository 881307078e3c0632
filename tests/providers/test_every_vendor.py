"""Every row of the catalogue against its vendor of the farm. Contract: providers.md §2, §6."""

from __future__ import annotations

import pytest

from goclaw.domain.errors import ProviderError
from goclaw.providers.catalogue import CATALOGUE
from tests.fakes.vendors.farm import open_farm
from tests.fakes.vendors.script import Call, Refuse
from tests.fakes.vendors.script import answer as says
from tests.providers.asking import LOOK_UP, answer, asking, going_on, provider_of

MODELS = {row.name: row.default_model or "some-model" for row in CATALOGUE if row.wire != "offline"}


@pytest.fixture(params=MODELS)
async def vendor(request):
    async with open_farm() as farm:
        yield farm[request.param]


@pytest.fixture
async def provider(vendor):
    async with provider_of(vendor) as provider:
        yield provider


async def test_a_question_is_answered_and_counted(provider, vendor):
    said = await answer(provider, asking(model=MODELS[vendor.name]))

    assert said.content == "echo hello there"
    assert said.usage.completion_tokens > 0
    assert said.usage.estimated == (vendor.name == "cohere")  # which tells nothing in a stream


async def test_tools_are_called_and_their_results_answered(provider, vendor):
    if vendor.name == "perplexity":
        said = await answer(provider, asking(model=MODELS[vendor.name], tools=(LOOK_UP,)))
        assert said.content == "echo hello there"
        return
    vendor.will(says(Call("look_up", {"word": "tea"}), Call("look_up", {"word": "milk"})))
    ask = asking(model=MODELS[vendor.name], tools=(LOOK_UP,))
    called = await answer(provider, ask)
    said = await answer(provider, going_on(ask, called, "leaves", "white"))

    assert [call.arguments for call in called.tool_calls] == [{"word": "tea"}, {"word": "milk"}]
    assert called.finish_reason == "tool_calls"
    assert said.content == "the tool said: leaves, white"


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (402, "billing")])
async def test_a_no_has_its_class(provider, vendor, status, kind):
    vendor.will(Refuse(status, "no"))
    with pytest.raises(ProviderError) as caught:
        await answer(provider, asking(model=MODELS[vendor.name]))

    assert caught.value.kind == kind


async def test_the_models_are_listed(provider, vendor):
    assert MODELS[vendor.name] in " ".join(await provider.models()) or MODELS[vendor.name] == "some-model"
