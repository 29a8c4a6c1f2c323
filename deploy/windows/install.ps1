<#
.SYNOPSIS
Installs the panel on Windows.

.DESCRIPTION
Does nothing but the two commands of the README: it creates a virtual environment, installs torch for your GPU and the package into it.
It also adds an entry to your start menu, unless you add -NoShortcut. It needs no administrator rights, and it prints every command before it
runs it. To uninstall, delete the folder .venv and the entry.

.PARAMETER Venv
Where to create the environment. Default: .venv in the folder of the project.

.PARAMETER Python
Python to use. Default: the launcher "py", or "python".

.PARAMETER TorchIndex
Address to install torch from. Copy the --index-url of your machine from PyTorch's install page. Required with an NVIDIA GPU, because the default build for
Windows has no CUDA.

.PARAMETER Extras
Extras to install, such as optimizers,gpu,notifications.

.PARAMETER Cpu
Install the default build of torch, even if the machine has an NVIDIA GPU.

.PARAMETER NoShortcut
Add no entry to the start menu.

.PARAMETER DryRun
Print the commands only.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File deploy\windows\install.ps1 -TorchIndex ADDRESS
#>
[CmdletBinding()]
param(
    [string]$Venv = '',
    [string]$Python = '',
    [string]$TorchIndex = '',
    [string]$Extras = '',
    [switch]$Cpu,
    [switch]$NoShortcut,
    [switch]$DryRun
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Invoke-Step {
    param([string]$Program, [string[]]$Arguments)
    Write-Output ('+ {0} {1}' -f $Program, ($Arguments -join ' '))
    if ($DryRun) { return }
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Program ended with status $LASTEXITCODE." }
}

function Get-NvidiaGpu {
    # nvidia-smi comes with the driver; without a driver, torch couldn't use the GPU
    $smi = Get-Command -Name 'nvidia-smi' -ErrorAction SilentlyContinue
    if ($null -eq $smi) { return '' }
    $names = & $smi.Source '--query-gpu=name' '--format=csv,noheader' 2>$null
    if ($LASTEXITCODE -ne 0 -or -not $names) { return '' }
    return @($names)[0]
}

function Get-PythonCommand {
    param([string]$Wanted)
    if ($Wanted) { return @($Wanted) }
    if (Get-Command -Name 'py' -ErrorAction SilentlyContinue) { return @('py', '-3') }
    if (Get-Command -Name 'python' -ErrorAction SilentlyContinue) { return @('python') }
    throw 'Python is missing. Install Python 3.11 or newer, then run this script again.'
}

function New-StartMenuEntry {
    [CmdletBinding(SupportsShouldProcess)]
    param([string]$Program, [string]$Folder)
    $place = Join-Path -Path ([Environment]::GetFolderPath('Programs')) -ChildPath 'OneTrainer panel.lnk'
    Write-Output "+ create $place"
    if ($DryRun -or -not $PSCmdlet.ShouldProcess($place)) { return }
    $shell = New-Object -ComObject 'WScript.Shell'
    $entry = $shell.CreateShortcut($place)
    $entry.TargetPath = $Program
    $entry.Arguments = '--open'
    $entry.WorkingDirectory = $Folder
    $entry.Description = 'OneTrainer panel'
    $entry.Save()
}

$project = Split-Path -Parent (Split-Path -Parent $PSScriptRoot)
$constraints = Join-Path -Path $project -ChildPath 'constraints.txt'
if (-not (Test-Path -LiteralPath $constraints)) { throw "$project isn't the folder of the project: constraints.txt is missing." }
if (-not $Venv) { $Venv = Join-Path -Path $project -ChildPath '.venv' }

$gpu = Get-NvidiaGpu
if ($gpu -and -not $TorchIndex -and -not $Cpu) {
    throw ("This machine has an NVIDIA GPU ($gpu), and the default build of torch for Windows has no CUDA. Copy the --index-url of the line for " +
        "Windows, Pip, CUDA from PyTorch's install page, and add it as -TorchIndex ADDRESS. For the CPU, add -Cpu.")
}

$command = @(Get-PythonCommand -Wanted $Python)
$first = @($command | Select-Object -Skip 1)
& $command[0] @first '-c' 'import sys; sys.exit(sys.version_info < (3, 11))'
if ($LASTEXITCODE -ne 0) { throw 'Python is older than 3.11. Choose another with -Python.' }

$venvPython = Join-Path -Path $Venv -ChildPath 'Scripts\python.exe'
$panel = Join-Path -Path $Venv -ChildPath 'Scripts\onetrainer-gradio.exe'
$package = if ($Extras) { '{0}[{1}]' -f $project, $Extras } else { $project }
$torch = @(Get-Content -LiteralPath $constraints | Where-Object { $_ -like 'torch==*' })[0]

if (-not (Test-Path -LiteralPath $venvPython)) { Invoke-Step -Program $command[0] -Arguments ($first + @('-m', 'venv', $Venv)) }
if ($TorchIndex) { Invoke-Step -Program $venvPython -Arguments @('-m', 'pip', 'install', '--index-url', $TorchIndex, $torch) }
Invoke-Step -Program $venvPython -Arguments @('-m', 'pip', 'install', '-c', $constraints, '-e', $package)
if (-not $NoShortcut) { New-StartMenuEntry -Program $panel -Folder $project }

if ($DryRun) { Write-Output 'Nothing was installed.' } else { Write-Output "Start the panel with: $panel --demo" }
