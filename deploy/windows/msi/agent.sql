-- What wixl cannot express, or takes and drops. One statement a line; deploy/windows/package runs them by msibuild and puts
-- the version in. Tables and values: "Windows Installer Database Tables" in Microsoft's reference.

-- Windows Server 2008 R2 SP1 and later. Workstations are not told apart: there is no Exchange on them, and the agent says so.
INSERT INTO `LaunchCondition` (`Condition`, `Description`) VALUES ('Installed OR (VersionNT64 AND (VersionNT > 601 OR (VersionNT = 601 AND ServicePackLevel >= 1)))', 'The Backstay agent needs Windows Server 2008 R2 SP1 or later, x64.')
INSERT INTO `LaunchCondition` (`Condition`, `Description`) VALUES ('Installed OR NOT (CONFIG_FILE AND CONTROLLER_URL)', 'CONFIG_FILE is a whole configuration and CONTROLLER_URL a part of one: give one of them.')

-- What a caller may set also where an administrator lets others install; and what is never logged. A join token that somebody gives in place of
-- its file would stand there.
UPDATE `Property` SET `Value` = 'APPLICATIONFOLDER;CONFIG_FILE;CONTROLLER_URL;JOIN_TOKEN_FILE;PURGE;WIX_DOWNGRADE_DETECTED;WIX_UPGRADE_DETECTED' WHERE `Property` = 'SecureCustomProperties'
INSERT INTO `Property` (`Property`, `Value`) VALUES ('MsiHiddenProperties', 'JOIN_TOKEN_FILE')

-- Types of custom actions: 18 an installed exe, 51 a property; 1024 deferred, 1280 rollback, 2048 as LocalSystem, 8192 target not logged,
-- 64 its failure is passed over.
UPDATE `CustomAction` SET `Type` = 51 WHERE `Action` = 'WhereItWas'
UPDATE `CustomAction` SET `Type` = 11282 WHERE `Action` = 'Configure'
UPDATE `CustomAction` SET `Type` = 11602 WHERE `Action` = 'Unconfigure'
UPDATE `CustomAction` SET `Type` = 3090 WHERE `Action` = 'Leave'
INSERT INTO `InstallUISequence` (`Action`, `Condition`, `Sequence`) VALUES ('WhereItWas', 'INSTALLED_IN AND NOT APPLICATIONFOLDER', 55)

-- Inside the transaction: when the new version does not install, the old one comes back. wixl puts it before.
UPDATE `InstallExecuteSequence` SET `Sequence` = 1501 WHERE `Action` = 'RemoveExistingProducts'

-- An exe that Windows Installer takes for one without a version may be kept in place of a newer one.
UPDATE `File` SET `Version` = '@VERSION@.0', `Language` = '1033' WHERE `File` = 'AgentExe'
DELETE FROM `MsiFileHash` WHERE `File_` = 'AgentExe'

-- 256: 64 bits; 128: not over one that is there; 16: never removed.
UPDATE `Component` SET `Attributes` = 404 WHERE `Component` = 'Log'

-- wixl ends keys with a backslash.
UPDATE `Registry` SET `Key` = 'SYSTEM\CurrentControlSet\Services\EventLog\Backstay' WHERE `Key` = 'SYSTEM\CurrentControlSet\Services\EventLog\Backstay\'
UPDATE `Registry` SET `Key` = 'SOFTWARE\Backstay\Agent' WHERE `Key` = 'SOFTWARE\Backstay\Agent\'
UPDATE `Registry` SET `Key` = 'SYSTEM\CurrentControlSet\Services\EventLog\Backstay\BackstayAgent' WHERE `Key` = 'SYSTEM\CurrentControlSet\Services\EventLog\Backstay\BackstayAgent\'

-- The service, as second line: the agent sets the same at each start. Started again after 10 s, 1 min and 1 min, forgotten after a day;
-- also when it ends by itself with an error (4); with a SID of its own, unrestricted (5).
CREATE TABLE `MsiServiceConfig` (`MsiServiceConfig` CHAR(72) NOT NULL, `Name` CHAR(255) NOT NULL LOCALIZABLE, `Event` SHORT NOT NULL, `ConfigType` LONG NOT NULL, `Argument` CHAR(0) LOCALIZABLE, `Component_` CHAR(72) NOT NULL PRIMARY KEY `MsiServiceConfig`)
INSERT INTO `MsiServiceConfig` (`MsiServiceConfig`, `Name`, `Event`, `ConfigType`, `Argument`, `Component_`) VALUES ('FailureFlag', 'BackstayAgent', 5, 4, '1', 'Agent')
INSERT INTO `MsiServiceConfig` (`MsiServiceConfig`, `Name`, `Event`, `ConfigType`, `Argument`, `Component_`) VALUES ('ServiceSid', 'BackstayAgent', 5, 5, '1', 'Agent')
CREATE TABLE `MsiServiceConfigFailureActions` (`MsiServiceConfigFailureActions` CHAR(72) NOT NULL, `Name` CHAR(255) NOT NULL LOCALIZABLE, `Event` SHORT NOT NULL, `ResetPeriod` LONG, `RebootMessage` CHAR(255) LOCALIZABLE, `Command` CHAR(255) LOCALIZABLE, `Actions` CHAR(0), `DelayActions` CHAR(0), `Component_` CHAR(72) NOT NULL PRIMARY KEY `MsiServiceConfigFailureActions`)
INSERT INTO `MsiServiceConfigFailureActions` (`MsiServiceConfigFailureActions`, `Name`, `Event`, `ResetPeriod`, `Actions`, `DelayActions`, `Component_`) VALUES ('Failure', 'BackstayAgent', 5, 86400, '1[~]1[~]1', '10000[~]60000[~]60000', 'Agent')
INSERT INTO `InstallExecuteSequence` (`Action`, `Condition`, `Sequence`) VALUES ('MsiConfigureServices', 'VersionNT >= 600', 5850)

-- State and configuration are for the system and for administrators, and nothing is inherited.
CREATE TABLE `MsiLockPermissionsEx` (`MsiLockPermissionsEx` CHAR(72) NOT NULL, `LockObject` CHAR(72) NOT NULL, `Table` CHAR(32) NOT NULL, `SDDLText` CHAR(0) NOT NULL, `Condition` CHAR(255) PRIMARY KEY `MsiLockPermissionsEx`)
INSERT INTO `MsiLockPermissionsEx` (`MsiLockPermissionsEx`, `LockObject`, `Table`, `SDDLText`) VALUES ('DataFolder', 'DataFolder', 'CreateFolder', 'D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)')
