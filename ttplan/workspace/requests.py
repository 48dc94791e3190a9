"""Verbs on requests: import, and check what their costs are worth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ttplan.model.pricing import ModelPricing
from ttplan.util.paths import PathLike
from ttplan.workspace.base import Wiring

if TYPE_CHECKING:
    from ttplan.display.diagnosis import DiagnosisCard
    from ttplan.doctor.cost_choice import CostBasis
    from ttplan.logs.report import ReadReport
    from ttplan.logs.source import MappingLike, OnBadRows


class RequestVerbs(Wiring):
    """Logs come in, and are checked."""

    def import_logs(
        self,
        path: PathLike | Sequence[PathLike],
        *,
        format: str | None = None,
        mapping: MappingLike | None = None,
        table: str | None = None,
        on_bad_rows: OnBadRows = "refuse",
        cost: CostBasis = "recorded",
        prices: PathLike | Mapping[str, ModelPricing] | None = None,
        with_bodies: bool = False,
        with_embeddings: bool = False,
        check: bool = True,
        progress: bool | None = None,
    ) -> ReadReport:
        """Add the requests of a log, of any format that is known or mapped, in one transaction or not at all.

        `path` is a file, a folder, a glob, several of them, or a database, of which `table` is read. `format` is only needed
        where it cannot be seen, `mapping` (a YAML file or a dict) for any other format. Importing a file again adds nothing. With
        `on_bad_rows="skip"` rows that cannot be used are left out and reported, with "refuse" they refuse the file. `cost` says
        what the baseline is made of: costs as "recorded", "recomputed" from tokens and prices (one's own `prices` over the
        catalogue's of each request's day), or by the "doctor": recorded, but recomputed where the record is certainly wrong.
        Prompts and answers are kept only with `with_bodies`, embeddings only with `with_embeddings`. With `check` the report has
        what the log doctor finds, as `check_logs` does of all that is stored. `progress` of None shows a bar on a terminal or
        in a notebook.

        Raises InputError, naming file, row and field, after which the store is as it was.
        """
        from ttplan.display.import_report import ImportCard
        from ttplan.operations.logs.import_logs import ImportOptions, import_logs

        options = ImportOptions(
            format=format,
            mapping=mapping,
            table=table,
            on_bad_rows=on_bad_rows,
            with_bodies=with_bodies,
            with_embeddings=with_embeddings,
            cost=cost,
            prices=prices,
            check=check,
            progress=progress,
        )
        report = import_logs(self.store, path, options, new_id=self._new_org, at=self._clock())
        return ImportCard.of(report)

    def check_logs(
        self,
        *,
        prices: PathLike | Mapping[str, ModelPricing] | None = None,
        totals: PathLike | Sequence[PathLike] = (),
    ) -> DiagnosisCard:
        """Hold every request against its price and the requests against one another, and say where the log is wrong.

        `prices` are one's own, over the catalogue's of each request's day. `totals` are a provider's exports of usage or costs by
        day, to hold the log against. Nothing is changed. Raises InputError where one of them cannot be used.
        """
        from ttplan.display.diagnosis import DiagnosisCard
        from ttplan.operations.logs.check_logs import check_store

        days = [totals] if isinstance(totals, str | os.PathLike) else totals
        return DiagnosisCard(
            check_store(self.store, self._name, prices=prices, totals=days, at=self._clock())
        )
