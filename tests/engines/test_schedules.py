import math

import pytest
import torch

from medseg.engines import cosine_with_warmup, optimizer_steps, polynomial_with_warmup
from medseg.errors import ConfigError


def rates(make, steps, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = make(optimizer, **options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_polynomial_rates():
    found = rates(polynomial_with_warmup, 12, total_steps=10, warmup_steps=2, power=0.9)
    wanted = [1.0, 2.0] + [2 * (1 - t / 8) ** 0.9 for t in range(8)] + [0.0, 0.0]
    assert found == pytest.approx(wanted)


def test_cosine_rates_end_at_the_floor():
    found = rates(cosine_with_warmup, 8, total_steps=4, floor=0.1)
    wanted = [2 * (0.1 + 0.9 * (1 + math.cos(math.pi * t / 4)) / 2) for t in range(4)] + [0.2] * 4
    assert found == pytest.approx(wanted)


def test_a_restored_schedule_goes_on_and_follows_a_raised_total():
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    old = torch.optim.SGD(parameters, lr=1.0)
    schedule = polynomial_with_warmup(old, 4, power=1)
    old.step(), schedule.step()
    new = torch.optim.SGD(parameters, lr=1.0)
    longer = polynomial_with_warmup(new, 8, power=1)
    new.load_state_dict(old.state_dict())
    longer.load_state_dict(schedule.state_dict())
    new.step(), longer.step()
    assert new.param_groups[0]["lr"] == 1 - 2 / 8


def test_a_warmup_as_long_as_the_run_is_refused():
    with pytest.raises(ConfigError, match="warmup_steps 4 must be .* below total_steps 4"):
        rates(cosine_with_warmup, 1, total_steps=4, warmup_steps=4)


def test_optimizer_steps_count_short_windows():
    assert optimizer_steps(7, 4, accumulation_steps=3) == 12
