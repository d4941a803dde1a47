"""What an external back end says of an order that it works on."""

from dataclasses import dataclass, field

from orchestration.job import UNFINISHED, Job, Manifest, Status


@dataclass(frozen=True, slots=True)
class BackendUpdate:
    """The status that the order has come to (never dismissed), with its result or its reason.

    `fault` is the class of the error, as of a job; `mail_to` is who is mailed of the order's end, once.
    """

    status: Status
    manifest: Manifest = ()
    reason: str = ""
    fault: str = ""
    mail_to: str | None = field(default=None, repr=False)

    def is_repeated(self, job: Job) -> bool:
        """Say whether a back end has said the same before, so that the job stands so already."""
        if not job.backend or job.status is not self.status:
            return False
        ended = (job.manifest, job.message, job.fault)
        return job.status in UNFINISHED or ended == (self.manifest, self.reason, self.fault)
