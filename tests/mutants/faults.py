"""Every fault of the list."""

from tests.mutants.faults_core import CORE
from tests.mutants.faults_data import DATA
from tests.mutants.faults_housekeeper import HOUSEKEEPER
from tests.mutants.faults_services import SERVICES
from tests.mutants.faults_supervisor import SUPERVISOR
from tests.mutants.faults_trainer import TRAINER

FAULTS = (*CORE, *DATA, *SERVICES, *SUPERVISOR, *HOUSEKEEPER, *TRAINER)
