"""Trains a small network with JAX and optax, and resumes exactly. JAX's arrays are values: the tree goes into `save` and comes back in `restored.state`.

    python examples/jax_train.py --run ckpts/jax
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax

import cairn


def network(parameters: dict, x: jax.Array, key: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(x @ parameters["first"])
    kept = jax.random.bernoulli(key, 0.9, hidden.shape)
    return jnp.where(kept, hidden / 0.9, 0.0) @ parameters["second"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains a small network with JAX.")
    parser.add_argument("--run", default="ckpts/jax")
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()

    numbers = np.random.default_rng(0)
    x = jnp.asarray(numbers.normal(size=(256, 16)), jnp.float32)
    y = (x[:, :4].sum(1) > 0).astype(jnp.int32)
    optimizer = optax.adam(1e-2)
    parameters = {"first": jnp.asarray(numbers.normal(size=(16, 32)) * 0.1, jnp.float32), "second": jnp.zeros((32, 2), jnp.float32)}
    tree = {"model": parameters, "optimizer": optimizer.init(parameters), "keys": {"dropout": jax.random.key(0)}}

    @jax.jit
    def update(tree: dict, rows: jax.Array) -> tuple[dict, jax.Array]:
        later, key = jax.random.split(tree["keys"]["dropout"])

        def loss_of(parameters: dict) -> jax.Array:
            return optax.softmax_cross_entropy_with_integer_labels(network(parameters, x[rows], key), y[rows]).mean()

        loss, gradients = jax.value_and_grad(loss_of)(tree["model"])
        updates, moments = optimizer.update(gradients, tree["optimizer"])
        return {"model": optax.apply_updates(tree["model"], updates), "optimizer": moments, "keys": {"dropout": later}}, loss

    with cairn.CheckpointManager(arguments.run, save=cairn.Save(every_steps=20)) as manager:
        restored = manager.restore(tree)
        step, tree = restored.step, restored.state
        while step < arguments.steps and not manager.should_stop:
            rows = np.random.default_rng(step).permutation(len(x))[:32]  # the order follows from the step: there is no position to keep
            tree, loss = update(tree, rows)
            step += 1
            if step % 20 == 0:
                print(f"step {step}: loss {float(loss):.6f}")
            manager.save(step, state=tree, metrics={"loss": loss}, force=step == arguments.steps)


if __name__ == "__main__":
    main()
