"""Required: which role each method asks for. A method that is not listed here is refused, whoever calls."""

from typing import Final

from infertap.identity.caller import Role

# By the method's full name, as gRPC sends it.
ROLES: Final[dict[str, Role]] = {
    "/infertap.v1.IngestService/Ingest": Role.INGEST,
    "/infertap.v1.RecordService/GetRecord": Role.READ,
    "/infertap.v1.RecordService/ListRecords": Role.READ,
    "/infertap.v1.RecordService/TailRecords": Role.READ,
    "/infertap.v1.RecordService/ExportRecords": Role.READ,
    "/infertap.v1.RecordService/GetStats": Role.READ,
    "/infertap.v1.FeedbackService/AttachFeedback": Role.FEEDBACK,
    "/infertap.v1.FeedbackService/ListFeedback": Role.READ,
    "/infertap.v1.AdminService/DeleteRecords": Role.ADMIN,
    "/infertap.v1.AdminService/BackupArchive": Role.ADMIN,
    "/infertap.v1.AdminService/GetArchive": Role.ADMIN,
    "/infertap.v1.AdminService/ListSinks": Role.ADMIN,
    "/infertap.v1.AdminService/ListRefusedRecords": Role.ADMIN,
    "/infertap.v1.AdminService/ResendRefusedRecords": Role.ADMIN,
    "/infertap.v1.AdminService/DropRefusedRecords": Role.ADMIN,
    "/infertap.v1.SpoolService/ListDeadLetters": Role.ADMIN,
    "/infertap.v1.SpoolService/GetDeadLetter": Role.ADMIN,
    "/infertap.v1.SpoolService/ResendDeadLetters": Role.ADMIN,
    "/infertap.v1.AuditService/ListSpools": Role.READ,
    "/infertap.v1.AuditService/ListFindings": Role.READ,
    "/infertap.v1.AuditService/MakeCheckpoint": Role.ADMIN,
    "/infertap.v1.AuditService/GetCheckpoint": Role.READ,
    "/infertap.v1.AuditService/ListCheckpoints": Role.READ,
    "/infertap.v1.AuditService/ListStatements": Role.READ,
    "/infertap.v1.AuditService/GetInclusionProof": Role.READ,
    "/infertap.v1.AuditService/GetConsistencyProof": Role.READ,
    "/infertap.v1.AuditService/ExportLog": Role.READ,
}
# Orchestrators ask without any identity; the answer tells nothing but that the process serves.
OPEN: Final = frozenset({"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"})
# For whoever has any identity: the schemas that reflection tells are published anyway.
KNOWN: Final = frozenset(
    {
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    }
)
