"""Loss of `fit` that takes the order of the bins into account."""

from torch import Tensor

from depthclip.losses import BinLoss, LossInput


class EarthMover(BinLoss):
    """Squared earth mover's distance between the weights of the words and the bins in which the true depths lie.

    For the weights w of a pixel and its target y over K ascending bins (Hou, Yu and Samaras, arXiv 1611.05916):

        1/(K - 1) sum_{k < K} (W_k - Y_k)^2,    W_k = w_1 + ... + w_k,    Y_k = y_1 + ... + y_k

    The loss of an image is the mean over its pixels. Unlike cross-entropy, it grows with the number of bins between
    the weights and the target. The division by K - 1, which the paper leaves out, keeps it in [0, 1] for any number of
    bins. The bins get no gradient from it: use fixed or fitted bins.

    Args:
        target: `nearest` for all of y on the bin nearest in metres; `neighbours` shares it between the bins on either
            side of the depth, so that sum_k y_k b_k is the depth within the range of the bins.
        at: `patches` takes the weights of the patch that a pixel lies in; `pixels` upsamples the logits bilinearly,
            which needs the memory of K images.

    Raises:
        InputError: if target or at is unknown, or, from `forward`, if the head gives no logits.
    """

    def per_image(self, image: LossInput) -> Tensor:
        """Return the loss of one image, ()."""
        logits, inside, lower, share = self.pixels(image)
        below = logits.softmax(0).cumsum(0)[:-1, inside]  # (K - 1, n), W_k of each pixel
        ranks = lower.new_tensor(range(len(below)))[:, None]
        # all of y lies in the bins `lower` and `lower + 1`
        target = (ranks > lower) + (ranks == lower) * (1 - share)
        return (below - target).square().mean()
