"""The data sets that have a name; to add one is to write its file and to list it here."""

from hebae.data.celeba import CELEBA
from hebae.data.fashion_mnist import FASHION_MNIST
from hebae.data.made_faces import MADE_FACES
from hebae.data.mnist import MNIST
from hebae.data.mnist_mini import MNIST_MINI
from hebae.data.source import NamedSource

SOURCES: tuple[NamedSource, ...] = (MNIST_MINI, MNIST, FASHION_MNIST, CELEBA, MADE_FACES)
