"""Many models of one architecture, trained in one program: a grid of weights, seeds, step sizes.

Their parameters are stacked, so that a layer of all models is one batched product, and the step's
fixed costs are paid once. A member's weights go the way they would go alone.
"""
