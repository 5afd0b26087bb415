"""Runs the released code's training on command, in an interpreter with TensorFlow.

``released_worker.py FOLDER LATENT_DIM BATCH_SIZE``; see `released.py` for what is said.
"""

import contextlib
import io
import sys

import numpy as np

WARM_UP = 5


def main() -> None:
    folder, latent_dim, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.path.insert(0, folder)
    import MNIST_HEBAE
    import tensorflow as tf

    def make_model():  # as in its MNIST_HEBAE_train.py
        prior = tf.zeros(latent_dim), tf.eye(latent_dim)
        model = MNIST_HEBAE.HEBAE(784, 784, [784, 800], [800, 800], latent_dim, *prior, 1, 1.0)
        model.optimizer = tf.keras.optimizers.Adam(learning_rate=0.001)
        return model

    def make_examples(steps):
        pixels = np.random.default_rng(0).random((steps * batch_size, 784), dtype=np.float32)
        return tf.convert_to_tensor(pixels)

    def train(model, examples):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the loss of every step
            MNIST_HEBAE.train(model, examples, batch_size)

    print("ready", flush=True)
    for line in sys.stdin:
        model, examples = make_model(), make_examples(int(line))
        train(model, make_examples(WARM_UP))
        print("warm", flush=True)
        sys.stdin.readline()
        train(model, examples)
        print("done", flush=True)


if __name__ == "__main__":
    main()
