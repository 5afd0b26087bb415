"""Objectives called with one epsilon, which serves as every kind of noise."""

from hebae.priors import StandardNormal


def noise_of(objective, epsilon):
    shapes = objective.noise_shapes(*epsilon.shape[-2:])
    return {name: epsilon.roll(i, dims=-2) for i, name in enumerate(shapes)}


def call(objective, mean, log_scale, epsilon, running=None):
    prior = StandardNormal(mean.shape[-1])
    critic = objective.critic(mean.shape[-1])
    if critic is not None:
        critic = critic.to(mean)
        for i, parameter in enumerate(critic.parameters()):
            parameter.data = (parameter.data + 1).sin() / (1 + i)
    return objective(mean, log_scale, noise_of(objective, epsilon), prior, running, critic)


def terms_of(objective, mean, log_scale):
    return call(objective, mean, log_scale, mean.detach() * 0)[1]
