"""What can be wrong with an input or a file of a product, named for the caller."""


class ProductError(Exception):
    """Something of a product failed; the message is fit for the caller."""


class InvalidArea(ProductError):
    """The area cannot be read or is not a valid polygon."""


class OutsideCrs(InvalidArea):
    """The area lies outside of where a CRS can be used."""


class AreaTooLarge(ProductError):
    """The area is above the limit of an order."""


class NothingInside(ProductError):
    """The product has no data inside the area."""


class BrokenSource(ProductError):
    """A file of the product is missing or malformed."""


class BrokenPiece(ProductError):
    """A piece of a product made in parts is missing or belongs to another product."""


class RequestTooLarge(ProductError):
    """The request would read more pixels or features than the bound allows."""


class UnknownProduct(ProductError):
    """No product of that series and year is configured."""


class UnknownPlace(ProductError):
    """There is no collection, feature or nation of that name."""
